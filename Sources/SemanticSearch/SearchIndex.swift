internal import Attention
internal import Foundation
internal import GRDB
internal import ModelFiles
internal import PretrainedModels

/// Texts and their vectors in an SQLite file, to be found by what they mean.
///
/// A *source* is a file, or whatever else has numbered lines; a *text* is what stands on one or several lines, and has one
/// vector however often it occurs. Everything that is written is written in transactions, so that a process may end at
/// any moment. Several processes may read while one writes.
///
/// Vectors have length 1, and lie as float32 in blocks of 1,024: a text's *slot* is its place among them all, and slots
/// have no gaps.
public struct SearchIndex: Sendable {
    /// What one means to do with the file.
    public enum Mode: Sendable {
        /// Only read it.
        case read
        /// Change it; it has to exist.
        case write
        /// Change it, or begin it.
        case create
    }

    /// What is in an index.
    public struct Summary: Sendable {
        /// The model's name.
        public let modelName: String
        /// The folder that the model was loaded from.
        public let modelPath: String
        /// The numbers of a vector.
        public let dimension: Int
        /// How many different texts there are.
        public let textCount: Int
        /// What was added, by name.
        public let sources: [Source]
    }

    /// Something that was added.
    public struct Source: Sendable, Equatable {
        /// The name that it was added by.
        public let name: String
        /// How many lines with a text it has.
        public let lineCount: Int
        /// Whether it was read to its end; if not, its lines so far stand beside those of the time before.
        public let isWhole: Bool
    }

    /// The file.
    public let path: String
    let queue: DatabaseQueue

    /// `ATSE`, by which SQLite files say what they are for.
    private static let applicationID = 0x4154_5345
    private static let version = 1

    /// Opens an index.
    ///
    /// - Parameters:
    ///   - path: The file.
    ///   - mode: What one means to do.
    ///   - patience: How many seconds to wait for another process that writes.
    /// - Throws: ``SearchIndexError`` when there is none, or it is something else.
    public init(path: String, mode: Mode, patience: Double = 10) throws(SearchIndexError) {
        self.path = path
        let size = (try? FileManager.default.attributesOfItem(atPath: path)[.size]) as? Int
        if mode != .create && size == nil { throw .notFound(path: path) }
        var configuration = Configuration()
        configuration.readonly = mode == .read
        configuration.busyMode = .timeout(patience)
        do {
            queue = try DatabaseQueue(path: path, configuration: configuration)
            let isEmpty = try queue.read { db in
                try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_master") == 0
                    && Int.fetchOne(db, sql: "PRAGMA application_id") == 0
            }
            if isEmpty {
                guard mode == .create else { throw SearchIndexError.notFound(path: path) }
                try Self.begin(queue)
            }
            let (application, version) = try queue.read { db in
                (
                    try Int.fetchOne(db, sql: "PRAGMA application_id"),
                    try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
                )
            }
            guard application == Self.applicationID else { throw SearchIndexError.notAnIndex(path: path) }
            guard version == Self.version else {
                throw SearchIndexError.unsupportedVersion(path: path, found: version, supported: Self.version)
            }
        } catch let error as DatabaseError {
            throw SearchIndexError(error, path: path)
        } catch let error as SearchIndexError {
            throw error
        } catch {
            throw .inaccessible(path: path, reason: "\(error)")
        }
    }

    private static func begin(_ queue: DatabaseQueue) throws {
        try queue.writeWithoutTransaction { db in
            // Blocks of vectors are long, and a page is the piece that they are read in.
            try db.execute(sql: "PRAGMA page_size = 32768")
            try db.execute(sql: "PRAGMA journal_mode = WAL")
        }
        try queue.write { db in
            // Another process may have been sooner.
            guard try Int.fetchOne(db, sql: "PRAGMA application_id") == 0 else { return }
            // A text is a BLOB, since it may have any character, U+0000 too, and is compared byte by byte.
            try db.execute(
                sql: """
                    CREATE TABLE model (
                        name TEXT NOT NULL, path TEXT NOT NULL, tokenizer TEXT NOT NULL, dimension INTEGER NOT NULL,
                        probe BLOB NOT NULL);
                    CREATE TABLE revision (number INTEGER NOT NULL);
                    INSERT INTO revision VALUES (0);
                    CREATE TABLE text (slot INTEGER PRIMARY KEY, content BLOB NOT NULL UNIQUE);
                    CREATE TABLE block (number INTEGER PRIMARY KEY, vectors BLOB NOT NULL);
                    CREATE TABLE source (
                        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, isWhole INTEGER NOT NULL);
                    CREATE TABLE place (
                        source INTEGER NOT NULL REFERENCES source ON DELETE CASCADE, line INTEGER NOT NULL,
                        slot INTEGER NOT NULL REFERENCES text ON UPDATE CASCADE,
                        PRIMARY KEY (source, line)) WITHOUT ROWID;
                    CREATE INDEX placeBySlot ON place (slot);
                    PRAGMA application_id = \(applicationID);
                    PRAGMA user_version = \(version);
                    """)
        }
    }

    /// Runs what reads, all of it in one transaction.
    func read<Result>(_ body: (Database) throws -> Result) throws(SearchIndexError) -> Result {
        try typed { try queue.read(body) }
    }

    /// Runs what writes, in one transaction.
    func write<Result>(_ body: (Database) throws -> Result) throws(SearchIndexError) -> Result {
        try typed { try queue.write(body) }
    }

    private func typed<Result>(_ body: () throws -> Result) throws(SearchIndexError) -> Result {
        do {
            return try body()
        } catch let error as DatabaseError {
            throw SearchIndexError(error, path: path)
        } catch let error as SearchIndexError {
            throw error
        } catch {
            throw .damaged(path: path, reason: "\(error)")
        }
    }

    /// A value of a row; GRDB's own subscript stops the program where the file has another type.
    func value<Value: DatabaseValueConvertible>(_ row: Row, _ column: String) throws -> Value {
        let stored: DatabaseValue? = row[column]
        guard let value = stored.flatMap(Value.fromDatabaseValue) else {
            throw SearchIndexError.damaged(path: path, reason: "a column '\(column)' has a value of another type")
        }
        return value
    }

    // MARK: - Model

    /// Its vector tells a model from every other: what the folder is called says little, and its files are long.
    private static let probeText = "The quick brown fox jumps over the lazy dog, twice."
    /// bfloat16 and other processors turn a vector by less, other models by more.
    private static let probeTolerance = 1e-3

    /// Makes sure that the index holds vectors of this model; an index without any takes it for its own.
    func require(_ embedder: TextEmbedder, mode: Mode) throws(SearchIndexError) {
        let probe = try embedder.unitVectors(of: [Self.probeText])
        let fingerprint = embedder.tokenizer.fingerprint.description
        func check(_ row: Row) throws {
            let stored: Data = try value(row, "probe")
            let name: String = try value(row, "name")
            let cosine = zip(stored.floats, probe).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
            guard try value(row, "dimension") == embedder.dimension, try value(row, "tokenizer") == fingerprint,
                stored.count == 4 * probe.count, cosine > 1 - Self.probeTolerance
            else { throw SearchIndexError.otherModel(path: path, indexed: name, given: embedder.name) }
        }
        let row = try read { db in try Row.fetchOne(db, sql: "SELECT * FROM model") }
        if let row {
            try typed { try check(row) }
        } else {
            guard mode != .read else { throw .notFound(path: path) }
            try write { db in
                if let row = try Row.fetchOne(db, sql: "SELECT * FROM model") { return try check(row) }
                try db.execute(
                    sql: "INSERT INTO model VALUES (?, ?, ?, ?, ?)",
                    arguments: [
                        embedder.name, URL(fileURLWithPath: embedder.path).standardizedFileURL.path, fingerprint,
                        embedder.dimension, Data(floats: probe[...]),
                    ])
            }
        }
    }

    // MARK: - What is in it

    /// Returns what is in the index.
    ///
    /// - Returns: The model, and sources in the order of their names.
    /// - Throws: ``SearchIndexError``.
    public func summary() throws(SearchIndexError) -> Summary {
        try read { db in
            guard let model = try Row.fetchOne(db, sql: "SELECT * FROM model") else {
                throw SearchIndexError.notFound(path: path)
            }
            let sources = try Row.fetchAll(
                db,
                sql: """
                    SELECT name, isWhole, (SELECT count(*) FROM place WHERE source = source.id) AS lineCount FROM source
                    ORDER BY name, id
                    """)
            return Summary(
                modelName: try value(model, "name"), modelPath: try value(model, "path"),
                dimension: try value(model, "dimension"),
                textCount: try Int.fetchOne(db, sql: "SELECT count(*) FROM text") ?? 0,
                sources: try sources.map {
                    Source(
                        name: try value($0, "name"), lineCount: try value($0, "lineCount"),
                        isWhole: try value($0, "isWhole"))
                })
        }
    }

    /// Deletes a source, and the texts that stand nowhere else.
    ///
    /// - Parameter name: The name that it was added by.
    /// - Returns: How many lines it had.
    /// - Throws: ``SearchIndexError/unknownSource(name:)`` when there is none.
    @discardableResult public func remove(source name: String) throws(SearchIndexError) -> Int {
        try write { db in
            let count =
                try Int.fetchOne(
                    db, sql: "SELECT count(*) FROM place WHERE source IN (SELECT id FROM source WHERE name = ?)",
                    arguments: [name]) ?? 0
            try db.execute(sql: "DELETE FROM source WHERE name = ?", arguments: [name])
            guard db.changesCount > 0 else { throw SearchIndexError.unknownSource(name: name) }
            try deleteTextsWithoutPlace(db)
            return count
        }
    }
}

extension TextEmbedder {
    /// Returns vectors of length 1, one after the other, whose products are cosines.
    func unitVectors(of texts: [String]) throws(SearchIndexError) -> [Float] {
        var vectors: [Float]
        do { vectors = try embeddings(of: texts).floats } catch { throw .text(error) }
        if !isNormalized {
            for start in stride(from: 0, to: vectors.count, by: dimension) {
                let range = start..<start + dimension
                let length = vectors[range].reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
                if length > 0 { for index in range { vectors[index] = Float(Double(vectors[index]) / length) } }
            }
        }
        return vectors
    }
}

extension Data {
    /// Numbers as they are stored: float32, the lowest byte first.
    init(floats: ArraySlice<Float>) {
        self.init(capacity: 4 * floats.count)
        for number in floats { Swift.withUnsafeBytes(of: number.bitPattern.littleEndian) { append(contentsOf: $0) } }
    }

    var floats: [Float] {
        withUnsafeBytes { bytes in
            (0..<count / 4).map {
                Float(bitPattern: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self)))
            }
        }
    }
}
