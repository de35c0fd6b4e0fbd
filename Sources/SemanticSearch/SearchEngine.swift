internal import Attention
internal import Foundation
internal import GRDB
internal import ModelFiles
public import PretrainedModels

/// Finds the texts of an index that mean what a query means.
///
/// Every text is compared: what is found is what there is. Vectors stay in memory from the first query on, and are read
/// again when the index has changed.
public final class SearchEngine {
    /// A text that was found.
    public struct Hit: Sendable {
        /// The text.
        public let text: String
        /// The cosine of its vector and the query's, from −1 to 1.
        public let score: Float
        /// Where it stands, by source and line; the first places where they are many.
        public let places: [Place]
        /// In how many places it stands.
        public let placeCount: Int
    }

    /// A line of a source.
    public struct Place: Sendable, Equatable {
        /// The source's name.
        public let source: String
        /// The line, from 1.
        public let line: Int
    }

    /// How many places of a text are listed.
    public static let listedPlaceCount = 10

    private let index: SearchIndex
    /// The model.
    public let embedder: TextEmbedder
    private var revision: Int?
    private var vectors: WeightMatrix?

    /// Prepares to search.
    ///
    /// - Parameters:
    ///   - index: An index.
    ///   - embedder: Its model.
    /// - Throws: ``SearchIndexError/otherModel(path:indexed:given:)`` when it is not.
    public init(_ index: SearchIndex, embedder: TextEmbedder) throws(SearchIndexError) {
        try index.require(embedder, mode: .read)
        self.index = index
        self.embedder = embedder
    }

    /// Whether the model reads all of a query, or leaves out what is beyond its longest text.
    ///
    /// - Parameter query: Any text.
    /// - Returns: `false` where something is left out.
    /// - Throws: ``SearchIndexError/text(_:)`` when it is too long to be encoded at all.
    public func readsAll(of query: String) throws(SearchIndexError) -> Bool {
        let template = embedder.tokenizer.template
        do {
            let count = try embedder.tokenizer.encode(embedder.prompt + query).count
            return count + template.prefix.count + template.suffix.count <= embedder.maximumTokenCount
        } catch {
            throw .text(error)
        }
    }

    /// Returns the closest texts.
    ///
    /// - Parameters:
    ///   - query: Any text; of one that is longer than the model reads, the beginning counts.
    ///   - count: How many, 1 or more.
    /// - Returns: The closest first; of equally close ones in the order in which they are stored. Fewer where the index
    ///   has fewer.
    /// - Throws: ``SearchIndexError/emptyQuery`` and others.
    /// - Complexity: O(texts · D), bound by reading 4 bytes for each number.
    public func hits(for query: String, count: Int) throws(SearchIndexError) -> [Hit] {
        require(count > 0, "\(count) hits were asked for; it must be 1 or more.")
        guard !query.allSatisfy(\.isWhitespace) else { throw .emptyQuery }
        let vector = Tensor(try embedder.unitVectors(of: [query]), shape: [1, embedder.dimension])
        return try index.read { db in
            guard let vectors = try currentVectors(db) else { return [] }
            let scores = matmul(vector, vectors).floats
            return try Self.best(count, of: scores).map { slot in try hit(db, slot: slot, score: scores[slot]) }
        }
    }

    /// The vectors as they are now; `nil` where there are none.
    private func currentVectors(_ db: Database) throws -> WeightMatrix? {
        let now = try Int.fetchOne(db, sql: "SELECT number FROM revision")
        if revision == now { return vectors }
        let (count, dimension) = (try index.textCount(db), embedder.dimension)
        vectors = nil
        if count > 0 {
            let memory = VectorMemory(byteCount: count * dimension * 4)
            var (end, number) = (0, 0)
            let rows = try Row.fetchCursor(db, sql: "SELECT number, vectors FROM block ORDER BY number")
            while let row = try rows.next() {
                let expected = min(VectorBlocks.length * dimension * 4, memory.bytes.count - end)
                try row.withUnsafeData(atIndex: 1) { data in
                    guard try index.value(row, "number") == number, let data, data.count == expected else {
                        throw SearchIndexError.damaged(
                            path: index.path, reason: "its vectors are not as many as its texts")
                    }
                    data.withUnsafeBytes { memory.bytes[end..<end + expected].copyBytes(from: $0) }
                }
                end += expected
                number += 1
            }
            guard end == memory.bytes.count else {
                throw SearchIndexError.damaged(path: index.path, reason: "its vectors are not as many as its texts")
            }
            vectors = WeightMatrix(
                sharing: UnsafeRawBufferPointer(memory.bytes), owner: memory, rowCount: count, columnCount: dimension,
                format: .float32)
        }
        revision = now
        return vectors
    }

    /// The largest scores' places, the largest first, of equal ones the earlier first.
    static func best(_ count: Int, of scores: [Float]) -> [Int] {
        var best: [Int] = []
        for (slot, score) in scores.enumerated() where !score.isNaN {
            if best.count == count, let last = best.last, score <= scores[last] { continue }
            // Behind all that are as large.
            var (low, high) = (0, best.count)
            while low < high {
                let middle = (low + high) / 2
                if scores[best[middle]] >= score { low = middle + 1 } else { high = middle }
            }
            if best.count == count { best.removeLast() }
            best.insert(slot, at: low)
        }
        return best
    }

    private func hit(_ db: Database, slot: Int, score: Float) throws -> Hit {
        let content = try Data.fetchOne(db, sql: "SELECT content FROM text WHERE slot = ?", arguments: [slot])
        guard let content, let text = String(validating: content, as: UTF8.self) else {
            throw SearchIndexError.damaged(path: index.path, reason: "text \(slot) is missing or is not UTF-8")
        }
        // While a source is read anew, a line may be there twice.
        let places = "SELECT DISTINCT name, line FROM place JOIN source ON source.id = place.source WHERE slot = ?"
        return Hit(
            text: text, score: score,
            places: try Row.fetchAll(
                db, sql: "\(places) ORDER BY name, line LIMIT \(Self.listedPlaceCount)", arguments: [slot]
            ).map { Place(source: try index.value($0, "name"), line: try index.value($0, "line")) },
            placeCount: try Int.fetchOne(db, sql: "SELECT count(*) FROM (\(places))", arguments: [slot]) ?? 0)
    }
}

/// Memory that a matrix shares.
private final class VectorMemory: @unchecked Sendable {
    // Safe: written before it is shared, and never after.
    let bytes: UnsafeMutableRawBufferPointer

    init(byteCount: Int) { bytes = .allocate(byteCount: byteCount, alignment: 64) }

    deinit { bytes.deallocate() }
}
