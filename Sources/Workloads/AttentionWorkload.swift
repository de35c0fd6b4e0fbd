public import Attention
public import SequenceModels

/// Attention of one shape, element type and measure, forward or there and back.
public struct AttentionWorkload: Sendable, Hashable {
    /// `B`, sequences.
    public var batchCount: Int
    /// `H`, query heads.
    public var headCount: Int
    /// `G`, key-value heads.
    public var keyValueHeadCount: Int
    /// `T_q`, queries.
    public var queryCount: Int
    /// `T_k`, keys.
    public var keyCount: Int
    /// `D`, the length of queries, keys and values.
    public var dimension: Int
    /// Whether a query sees only the keys up to its own, the last query the last key.
    public var isCausal: Bool
    /// Of queries, keys and values.
    public var elementType: ElementType
    /// The measure, with parameters as a model begins with.
    public var similarity: SimilarityKind
    /// Whether the gradients of queries, keys and values are computed as well.
    public var isTraining: Bool

    /// Describes attention.
    ///
    /// - Parameters:
    ///   - batchCount: `B`, sequences.
    ///   - headCount: `H`, query heads.
    ///   - keyValueHeadCount: `G`, key-value heads; divides `H`.
    ///   - queryCount: `T_q`, queries.
    ///   - keyCount: `T_k`, keys.
    ///   - dimension: `D`, the length of queries, keys and values.
    ///   - isCausal: Whether a query sees only the keys up to its own, the last query the last key.
    ///   - elementType: Of queries, keys and values.
    ///   - similarity: The measure.
    ///   - isTraining: Whether the gradients are computed as well.
    public init(
        _ batchCount: Int, _ headCount: Int, _ keyValueHeadCount: Int, _ queryCount: Int, _ keyCount: Int,
        _ dimension: Int, isCausal: Bool = false, elementType: ElementType = .float32,
        similarity: SimilarityKind = .scaledDot, isTraining: Bool = false
    ) {
        self.batchCount = batchCount
        self.headCount = headCount
        self.keyValueHeadCount = keyValueHeadCount
        self.queryCount = queryCount
        self.keyCount = keyCount
        self.dimension = dimension
        self.isCausal = isCausal
        self.elementType = elementType
        self.similarity = similarity
        self.isTraining = isTraining
    }

    /// The shapes that others are timed at.
    static let shapes = [
        AttentionWorkload(1, 12, 12, 128, 128, 64), AttentionWorkload(1, 12, 12, 512, 512, 64),
        AttentionWorkload(1, 12, 12, 512, 512, 64, isCausal: true), AttentionWorkload(1, 12, 12, 2048, 2048, 64),
        AttentionWorkload(1, 12, 12, 2048, 2048, 64, isCausal: true),
        AttentionWorkload(1, 9, 3, 1024, 1024, 64, isCausal: true), AttentionWorkload(8, 12, 12, 128, 128, 64),
        AttentionWorkload(1, 8, 8, 2048, 2048, 128, isCausal: true), AttentionWorkload(1, 1, 1, 8192, 8192, 64),
    ]

    static var all: [Workload] {
        let halves = shapes.map { $0.with { $0.elementType = .bfloat16 } }
        let training = shapes.filter { $0.headCount == $0.keyValueHeadCount && $0.queryCount <= 4096 }
            .map { $0.with { $0.isTraining = true } }
        let measures = SimilarityKind.allCases.filter { $0 != .scaledDot }
            .map { kind in AttentionWorkload(1, 12, 12, 512, 512, 64, similarity: kind) }
        return (shapes + halves + training + measures + measures.map { $0.with { $0.isTraining = true } })
            .map(\.workload)
    }

    private func with(_ change: (inout AttentionWorkload) -> Void) -> AttentionWorkload {
        var copy = self
        change(&copy)
        return copy
    }

    /// The operations of the two products and, with gradients, of the five others: half of them where half of the pairs are
    /// masked.
    private var operationCount: Double {
        let pairs = Double(batchCount * headCount * queryCount) * Double(keyCount)
        let visible = isCausal ? 1 - Double(queryCount) / Double(2 * max(1, keyCount)) : 1
        return 4 * pairs * Double(dimension) * visible * (isTraining ? 3.5 : 1)
    }

    private var name: String {
        "attention \(elementType.rawValue) b\(batchCount) h\(headCount) g\(keyValueHeadCount) q\(queryCount) k\(keyCount) "
            + "d\(dimension)" + (isCausal ? " causal" : "")
            + (similarity == .scaledDot ? "" : " \(similarity.rawValue)") + (isTraining ? " forward+backward" : "")
    }

    /// The work.
    public var workload: Workload {
        Workload(name, bound: elementType == .bfloat16 ? .bfloat16 : .float32, amount: operationCount) {
            var random = RandomStream(seed: 1)
            let measure = LearnedSimilarity(similarity, queryDimension: dimension, random: &random)
                .measure(dimension: dimension)
            func operand(_ headCount: Int, _ length: Int) -> Tensor {
                random.normal([batchCount, headCount, length, dimension], deviation: 1).converted(to: elementType)
            }
            let queries = operand(headCount, queryCount)
            let (keys, values) = (operand(keyValueHeadCount, keyCount), operand(keyValueHeadCount, keyCount))
            var operation = AttentionOperation(mask: isCausal ? .causal(offset: keyCount - queryCount) : .none)
            operation.similarity = measure
            try check(operation, queries, keys, values)
            guard isTraining else { return { _ = operation(queries: queries, keys: keys, values: values) } }
            let seed = operand(headCount, queryCount)
            try checkGradient(operation, queries, keys, values, seed)
            return {
                let (q, k, v) = (queries.tracked(), keys.tracked(), values.tracked())
                _ = operation(queries: q, keys: k, values: v).gradients(of: [q, k, v], seed: seed)
            }
        }
    }

    /// Compares some queries of the first and the last head with the definition, in Double.
    private func check(_ operation: AttentionOperation, _ queries: Tensor, _ keys: Tensor, _ values: Tensor) throws {
        let output = operation(queries: queries, keys: keys, values: values)
        for (batch, head) in [(0, 0), (batchCount - 1, headCount - 1)] {
            let group = head / (headCount / keyValueHeadCount)
            func row(_ tensor: Tensor, _ head: Int, _ range: Range<Int>) -> Tensor {
                tensor.slice(axis: 0, range: batch..<batch + 1).slice(axis: 1, range: head..<head + 1)
                    .slice(axis: 2, range: range)
            }
            for query in Set([0, queryCount / 2, queryCount - 1]) {
                let seen = isCausal ? min(keyCount, max(0, query + 1 + keyCount - queryCount)) : keyCount
                var alone = operation
                alone.mask = .none
                let expected = alone.reference(
                    queries: row(queries, head, query..<query + 1), keys: row(keys, group, 0..<seen),
                    values: row(values, group, 0..<seen))
                try Workload.check(
                    name, row(output, head, query..<query + 1).doubles, expected.output.doubles, tolerance: tolerance)
            }
        }
    }

    /// What rounding may amount to, of values about 1.
    private var tolerance: Double {
        switch elementType {
        case .float64: 1e-12
        case .float16: 4e-3
        case .bfloat16: 3e-2
        default: 1e-5
        }
    }

    /// Compares the derivative along the seed's own direction of one query with a difference, in Double.
    private func checkGradient(
        _ operation: AttentionOperation, _ queries: Tensor, _ keys: Tensor, _ values: Tensor, _ seed: Tensor
    ) throws {
        let q = queries.tracked()
        let gradient = operation(queries: q, keys: keys, values: values).gradients(of: [q], seed: seed)[0]
        func first(_ tensor: Tensor, _ range: Range<Int>) -> Tensor {
            tensor.slice(axis: 0, range: 0..<1).slice(axis: 1, range: 0..<1).slice(axis: 2, range: range)
                .converted(to: .float64)
        }
        // The last query sees every key.
        let last = queryCount - 1..<queryCount
        let (query, direction) = (first(queries, last).doubles, first(seed, last).doubles)
        var alone = operation
        alone.mask = .none
        func value(at step: Double) -> Double {
            let moved = Tensor(zip(query, direction).map { $0 + step * $1 }, shape: [1, 1, 1, dimension])
            let output = alone(queries: moved, keys: first(keys, 0..<keyCount), values: first(values, 0..<keyCount))
            return zip(output.doubles, direction).reduce(0) { $0 + $1.0 * $1.1 }
        }
        let expected = (value(at: 1e-5) - value(at: -1e-5)) / 2e-5
        let found = zip(first(gradient, last).doubles, direction).reduce(0) { $0 + $1.0 * $1.1 }
        try Workload.check(name, [found], [expected], tolerance: 1e-3 * max(1, abs(expected)))
    }
}
