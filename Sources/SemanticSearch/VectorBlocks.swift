internal import Foundation
internal import GRDB

/// The stored vectors, changed in memory and then written, block by block, within one transaction.
struct VectorBlocks {
    /// How many vectors a block has; the last one may have fewer.
    static let length = 1024

    private let db: Database
    private let path: String
    private let vectorByteCount: Int
    private var changed: [Int: Data] = [:]

    init(_ db: Database, dimension: Int, path: String) {
        self.db = db
        self.path = path
        vectorByteCount = 4 * dimension
    }

    /// The bytes of a vector.
    mutating func vector(_ slot: Int) throws -> Data {
        try load(slot / Self.length)
        let start = slot % Self.length * vectorByteCount
        guard let block = changed[slot / Self.length], block.count >= start + vectorByteCount else {
            throw SearchIndexError.damaged(path: path, reason: "it lacks vector \(slot)")
        }
        return block.subdata(in: start..<start + vectorByteCount)
    }

    /// Puts a vector into a slot: one that has a vector, or the first that has none.
    mutating func put(_ vector: Data, into slot: Int) throws {
        let (number, start) = (slot / Self.length, slot % Self.length * vectorByteCount)
        try load(number)
        let size = changed[number, default: Data()].count
        guard size >= start else {
            throw SearchIndexError.damaged(path: path, reason: "it lacks vectors before \(slot)")
        }
        let end = Swift.min(start + vectorByteCount, size)
        changed[number, default: Data()].replaceSubrange(start..<end, with: vector)
    }

    /// Drops all vectors from a slot on.
    mutating func truncate(to count: Int) throws {
        let (number, size) = (count / Self.length, count % Self.length * vectorByteCount)
        let kept = size == 0 ? number : number + 1
        try db.execute(sql: "DELETE FROM block WHERE number >= ?", arguments: [kept])
        for number in changed.keys where number >= kept { changed[number] = nil }
        guard size > 0 else { return }
        try load(number)
        changed[number] = changed[number]?.prefix(size)
    }

    /// Writes what has changed.
    func write() throws {
        for (number, data) in changed {
            try db.execute(sql: "INSERT OR REPLACE INTO block VALUES (?, ?)", arguments: [number, data])
        }
        try db.execute(sql: "UPDATE revision SET number = number + 1")
    }

    private mutating func load(_ number: Int) throws {
        guard changed[number] == nil else { return }
        changed[number] =
            try Data.fetchOne(db, sql: "SELECT vectors FROM block WHERE number = ?", arguments: [number]) ?? Data()
    }
}

extension SearchIndex {
    /// Deletes texts that stand nowhere any more; the last ones move to where they were.
    func deleteTextsWithoutPlace(_ db: Database) throws {
        let slots = try Int.fetchAll(
            db,
            sql: """
                SELECT slot FROM text WHERE NOT EXISTS (SELECT 1 FROM place WHERE place.slot = text.slot)
                ORDER BY slot DESC
                """)
        guard !slots.isEmpty else { return }
        var blocks = VectorBlocks(db, dimension: try dimension(db), path: path)
        var count = try textCount(db)
        for slot in slots {
            count -= 1
            try db.execute(sql: "DELETE FROM text WHERE slot = ?", arguments: [slot])
            // Those behind this one that had to go are gone, so the last one stays.
            if slot != count {
                try db.execute(sql: "UPDATE text SET slot = ? WHERE slot = ?", arguments: [slot, count])
                try blocks.put(blocks.vector(count), into: slot)
            }
        }
        try blocks.truncate(to: count)
        try blocks.write()
    }

    /// How many texts there are: slots have no gaps.
    func textCount(_ db: Database) throws -> Int {
        try Int.fetchOne(db, sql: "SELECT max(slot) + 1 FROM text") ?? 0
    }

    func dimension(_ db: Database) throws -> Int {
        guard let dimension = try Int.fetchOne(db, sql: "SELECT dimension FROM model"), 1...1_000_000 ~= dimension
        else { throw SearchIndexError.damaged(path: path, reason: "it does not say how long vectors are") }
        return dimension
    }
}
