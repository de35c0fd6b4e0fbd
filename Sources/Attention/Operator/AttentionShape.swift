/// The sizes of a call of the operator.
public struct AttentionShape: Sendable, Hashable {
    /// `B`, sequences.
    public let batchCount: Int
    /// `H`, query heads.
    public let headCount: Int
    /// `G`, key-value heads; divides `H`.
    public let keyValueHeadCount: Int
    /// `T_q`, queries.
    public let queryCount: Int
    /// `T_k`, keys.
    public let keyCount: Int
    /// `D`, elements of a query.
    public let queryDimension: Int
    /// `D_k`, elements of a key.
    public let keyDimension: Int
    /// `D_v`, elements of a value and of an output.
    public let valueDimension: Int

    /// How many query heads share a key-value head.
    public var groupSize: Int { headCount / max(1, keyValueHeadCount) }

    /// Reads the sizes off the operands; shapes that disagree stop the program.
    ///
    /// - Parameters:
    ///   - queries: `[B, H, T_q, D]`.
    ///   - keys: `[B, G, T_k, D_k]`.
    ///   - values: `[B, G, T_k, D_v]`.
    public init(queries: Tensor, keys: Tensor, values: Tensor) {
        if let problem = AttentionShape.problem(queries: queries.shape, keys: keys.shape, values: values.shape) {
            stop(problem)
        }
        batchCount = queries.shape[0]
        headCount = queries.shape[1]
        keyValueHeadCount = keys.shape[1]
        queryCount = queries.shape[2]
        keyCount = keys.shape[2]
        queryDimension = queries.shape[3]
        keyDimension = keys.shape[3]
        valueDimension = values.shape[3]
    }

    /// Returns what is wrong with the shapes of operands, or `nil`: for shapes that come from a file.
    ///
    /// - Parameters:
    ///   - queries: Should be `[B, H, T_q, D]`.
    ///   - keys: Should be `[B, G, T_k, D_k]`.
    ///   - values: Should be `[B, G, T_k, D_v]`.
    /// - Returns: A sentence with both shapes, or `nil` if they agree.
    public static func problem(queries: [Int], keys: [Int], values: [Int]) -> String? {
        for (name, shape) in [("Queries", queries), ("Keys", keys), ("Values", values)] where shape.count != 4 {
            return "\(name) have shape \(shape); they need 4 dimensions, [batch, heads, length, dimension]."
        }
        if queries[0] != keys[0] { return "Queries \(queries) and keys \(keys) differ in the batch." }
        if keys[0] != values[0] || keys[1] != values[1] || keys[2] != values[2] {
            return "Keys \(keys) and values \(values) must agree in batch, heads and length."
        }
        if keys[1] == 0 ? queries[1] != 0 : queries[1] % keys[1] != 0 {
            return "The \(keys[1]) key-value heads of \(keys) do not divide the \(queries[1]) heads of \(queries)."
        }
        return nil
    }
}
