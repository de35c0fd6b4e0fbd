internal import Foundation
internal import GRDB
public import PretrainedModels

/// A source that is being added, or read anew.
///
/// What was there before stays until ``finish()``: a process that ends in between has lost nothing, and the next update of
/// the source finds the vectors that were made. Only texts that the index has nowhere are embedded.
public struct SourceUpdate {
    /// A text and where it stands.
    public typealias Line = (number: Int, text: String)

    /// What an update has done so far.
    public struct Count: Sendable, Equatable {
        /// Lines with a text.
        public var lines = 0
        /// Texts that were embedded.
        public var embedded = 0
    }

    private let index: SearchIndex
    private let embedder: TextEmbedder
    private let name: String
    private let source: Int64
    /// What was done so far.
    public private(set) var count = Count()

    /// Begins.
    ///
    /// - Parameters:
    ///   - name: What the source is called; one that was added by this name is replaced in the end.
    ///   - index: Opened for writing.
    ///   - embedder: The model of the index, or of one that has none yet.
    /// - Throws: ``SearchIndexError``.
    public init(_ name: String, in index: SearchIndex, embedder: TextEmbedder) throws(SearchIndexError) {
        try index.require(embedder, mode: .write)
        self.index = index
        self.embedder = embedder
        self.name = name
        source = try index.write { db in
            try db.execute(sql: "INSERT INTO source (name, isWhole) VALUES (?, 0)", arguments: [name])
            return db.lastInsertedRowID
        }
    }

    /// Adds lines, in one transaction.
    ///
    /// - Parameter lines: Those without anything but white space are left out. No number may come twice in a source.
    /// - Throws: ``SearchIndexError``.
    public mutating func add(_ lines: [Line]) throws(SearchIndexError) {
        let lines = lines.filter { !$0.text.allSatisfy(\.isWhitespace) }
            .map { (number: $0.number, content: Data($0.text.utf8), text: $0.text) }
        // Before the transaction, since it takes long, and nobody else can write while one is open.
        var texts: [Data: String] = [:]
        let known = try index.read { db in
            let statement = try db.cachedStatement(sql: "SELECT slot FROM text WHERE content = ?")
            return try Set(lines.map(\.content).filter { try Int.fetchOne(statement, arguments: [$0]) != nil })
        }
        var order: [Data] = []
        for line in lines where !known.contains(line.content) && texts[line.content] == nil {
            texts[line.content] = line.text
            order.append(line.content)
        }
        let vectors = try embedder.unitVectors(of: order.compactMap { texts[$0] })
        let dimension = embedder.dimension
        var made: [Data: Data] = [:]
        for (place, content) in order.enumerated() {
            made[content] = Data(floats: vectors[place * dimension..<(place + 1) * dimension])
        }
        let embedder = embedder
        try index.write { [index, name, source] db in
            guard try Int.fetchOne(db, sql: "SELECT 1 FROM source WHERE id = ?", arguments: [source]) != nil else {
                throw SearchIndexError.updatedMeanwhile(name: name)
            }
            let find = try db.cachedStatement(sql: "SELECT slot FROM text WHERE content = ?")
            let insert = try db.cachedStatement(sql: "INSERT INTO text VALUES (?, ?)")
            let place = try db.cachedStatement(sql: "INSERT INTO place VALUES (?, ?, ?)")
            var blocks = VectorBlocks(db, dimension: dimension, path: index.path)
            var textCount = try index.textCount(db)
            let before = textCount
            for line in lines {
                let slot: Int
                if let found = try Int.fetchOne(find, arguments: [line.content]) {
                    slot = found
                } else {
                    // Where another process has deleted the text meanwhile, it is embedded after all.
                    let vector = try made[line.content] ?? Data(floats: embedder.unitVectors(of: [line.text])[...])
                    slot = textCount
                    try insert.execute(arguments: [slot, line.content])
                    try blocks.put(vector, into: slot)
                    textCount += 1
                }
                try place.execute(arguments: [source, line.number, slot])
            }
            if textCount != before { try blocks.write() }
        }
        count.lines += lines.count
        count.embedded += order.count
    }

    /// Puts the lines that were added in place of those that the source had before.
    ///
    /// - Throws: ``SearchIndexError``.
    public func finish() throws(SearchIndexError) {
        try index.write { [index, name, source] db in
            try db.execute(sql: "UPDATE source SET isWhole = 1 WHERE id = ?", arguments: [source])
            guard db.changesCount == 1 else { throw SearchIndexError.updatedMeanwhile(name: name) }
            try db.execute(sql: "DELETE FROM source WHERE name = ? AND id != ?", arguments: [name, source])
            try index.deleteTextsWithoutPlace(db)
        }
    }
}
