/// A query sees the keys of its own document.
struct Documents: MaskRule {
    let queries: [[Int]]
    let keys: [[Int]]

    func allows(batch: Int, head: Int, query: Int, key: Int) -> Bool {
        queries[batch][query] == keys[batch][key]
    }

    func coverage(of tile: MaskTile) -> MaskCoverage {
        func bounds(_ documents: ArraySlice<Int>) -> (low: Int, high: Int) {
            documents.reduce((Int.max, Int.min)) { (min($0.0, $1), max($0.1, $1)) }
        }
        let query = bounds(queries[tile.batch][tile.queries])
        let key = bounds(keys[tile.batch][tile.keys])
        if query.low > key.high || key.low > query.high { return .empty }
        return query.low == query.high && query == key ? .full : .partial
    }

    func problem(for shape: AttentionShape) -> String? {
        for (name, documents, length) in [("queries", queries, shape.queryCount), ("keys", keys, shape.keyCount)]
        where documents.map(\.count) != [Int](repeating: length, count: shape.batchCount) {
            return "The documents name \(documents.map(\.count)) \(name); the shape has \(shape.batchCount) "
                + "sequences of \(length)."
        }
        return nil
    }
}

extension AttentionMask {
    /// Several documents packed into one sequence: a query sees the keys of its own document alone.
    ///
    /// - Parameters:
    ///   - queries: The document of each query, `[B][T_q]`, any numbers.
    ///   - keys: The document of each key, `[B][T_k]`.
    /// - Returns: The mask.
    public static func documents(queries: [[Int]], keys: [[Int]]) -> AttentionMask {
        AttentionMask(Documents(queries: queries, keys: keys))
    }

    /// Several documents packed into one sequence, the same for queries and keys.
    ///
    /// - Parameter documents: The document of each position, `[B][T]`, any numbers.
    /// - Returns: The mask.
    public static func documents(_ documents: [[Int]]) -> AttentionMask {
        .documents(queries: documents, keys: documents)
    }
}
