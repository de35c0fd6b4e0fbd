import Attention
import TestSupport

/// The sizes of a call, by default distinct primes wherever they may differ, so that a swapped axis shows.
struct OperandSizes: Sendable {
    var batchCount = 3
    var headCount = 2
    var keyValueHeadCount = 2
    var queryCount = 11
    var keyCount = 13
    var queryDimension = 7
    var keyDimension = 7
    var valueDimension = 5

    func operands(seed: UInt64, as type: ElementType = .float32) -> (
        queries: Tensor, keys: Tensor, values: Tensor
    ) {
        var random = SeededGenerator(seed: seed)
        return (
            random.operand([batchCount, headCount, queryCount, queryDimension], as: type),
            random.operand([batchCount, keyValueHeadCount, keyCount, keyDimension], as: type),
            random.operand([batchCount, keyValueHeadCount, keyCount, valueDimension], as: type)
        )
    }
}

/// A measure as a user would write it: no form of its own, so that it runs pair by pair.
struct Chebyshev: Similarity {
    func score<Scalar: AttentionScalar>(query: Span<Scalar>, key: Span<Scalar>) -> Scalar {
        var largest: Scalar = 0
        for index in query.indices {
            let distance = abs(query[index] - key[index])
            // `max` would pass over NaN.
            if distance > largest || distance.isNaN { largest = distance }
        }
        return -largest
    }
}

/// A mask as a user would write it: nothing but the definition.
struct EveryFifthHidden: MaskRule {
    func allows(batch: Int, head: Int, query: Int, key: Int) -> Bool {
        let phase = batch + 2 * head + 3 * query + 7 * key
        return phase % 5 != 0
    }
}

/// A bias as a user would write it.
struct Waves: BiasRule {
    func value(batch: Int, head: Int, query: Int, key: Int) -> Double {
        let phase = batch + 2 * head + 3 * query + 7 * key
        return Double(phase % 11) / 4 - 1
    }
}

/// Every measure of similarity.
enum Measure: String, CaseIterable, Sendable {
    case dot
    case scaledDotProduct
    case negativeScale
    case zeroScale
    case general
    case additive
    case additiveWithBias
    case linearAdditive
    case cosine
    case euclidean
    case gaussian
    case laplacian
    case custom

    /// Whether queries and keys may differ in length.
    var takesDifferentDimensions: Bool {
        switch self {
        case .general, .additive, .additiveWithBias, .linearAdditive: true
        default: false
        }
    }

    func similarity(for sizes: OperandSizes) -> any Similarity {
        var random = SeededGenerator(seed: 71)
        let hidden = 5
        switch self {
        case .dot: return .dot
        case .scaledDotProduct: return .scaledDotProduct
        case .negativeScale: return .scaledDotProduct(scale: -0.7)
        case .zeroScale: return .scaledDotProduct(scale: 0)
        case .general:
            return .general(weight: random.operand([sizes.queryDimension, sizes.keyDimension], in: -1...1))
        case .additive, .additiveWithBias:
            return .additive(
                queryWeight: random.operand([hidden, sizes.queryDimension], in: -1...1),
                keyWeight: random.operand([hidden, sizes.keyDimension], in: -1...1),
                scoreWeight: random.operand([hidden]),
                bias: self == .additive ? nil : random.operand([hidden]))
        case .linearAdditive:
            return .linearAdditive(
                queryWeight: random.operand([sizes.queryDimension]),
                keyWeight: random.operand([sizes.keyDimension]))
        case .cosine: return .cosine(temperature: 0.3)
        case .euclidean: return .negativeSquaredEuclidean(scale: 0.5)
        case .gaussian: return .gaussian(bandwidth: 1.7)
        case .laplacian: return .laplacian(bandwidth: 0.9)
        case .custom: return Chebyshev()
        }
    }
}

/// Every kind of mask, its numbers in proportion to the lengths.
enum MaskKind: String, CaseIterable, Sendable {
    case none
    case causal
    case causalWithNegativeOffset
    case causalPerSequence
    case window
    case windowToTheLeft
    case windowToTheRight
    case windowPerSequence
    case prefix
    case prefixPerSequence
    case documents
    case documentsOfQueriesAndKeys
    case lengths
    case boolean
    case booleanOfKeys
    case booleanOfQueries
    case custom
    case causalAndLengths
    case prefixOrCausal
    case windowAndDocuments
    case nested

    func mask(for sizes: OperandSizes) -> AttentionMask {
        let (queryCount, keyCount) = (sizes.queryCount, sizes.keyCount)
        let sequences = 0..<sizes.batchCount
        var random = SeededGenerator(seed: 73)
        func documents(_ count: Int) -> [[Int]] {
            sequences.map { batch in (0..<count).map { ($0 + batch) * 3 / max(1, count) } }
        }
        switch self {
        case .none: return .none
        case .causal: return .causal(offset: keyCount - queryCount)
        case .causalWithNegativeOffset: return .causal(offset: -2)
        case .causalPerSequence: return .causal(offsets: sequences.map { $0 * keyCount / 3 - 1 })
        case .window: return .slidingWindow(left: keyCount / 5, right: 1, offset: keyCount / 4)
        case .windowToTheLeft: return .slidingWindow(left: nil, right: 0)
        case .windowToTheRight: return .slidingWindow(left: 2, right: nil, offset: keyCount / 2)
        case .windowPerSequence:
            return .slidingWindow(left: 3, right: keyCount / 6, offsets: sequences.map { $0 * keyCount / 2 })
        case .prefix: return .prefix(keyCount / 4)
        case .prefixPerSequence: return .prefix(sequences.map { $0 * keyCount / 2 })
        case .documents: return .documents(queries: documents(queryCount), keys: documents(keyCount))
        case .documentsOfQueriesAndKeys:
            // In no order, and with queries whose document has no key.
            return .documents(
                queries: sequences.map { batch in (0..<queryCount).map { ($0 * 7 + batch) % 5 } },
                keys: sequences.map { batch in (0..<keyCount).map { ($0 * 5 + batch) % 4 } })
        case .lengths: return .lengths(sequences.map { [keyCount, keyCount / 3, 0][$0 % 3] })
        case .boolean:
            return .boolean(random.booleans([sizes.batchCount, sizes.headCount, queryCount, keyCount]))
        case .booleanOfKeys: return .boolean(random.booleans([keyCount]))
        case .booleanOfQueries: return .boolean(random.booleans([sizes.batchCount, 1, queryCount, 1]))
        case .custom: return AttentionMask(EveryFifthHidden())
        case .causalAndLengths:
            return .causal(offset: 1) & .lengths(sequences.map { [keyCount, keyCount / 2, 1][$0 % 3] })
        case .prefixOrCausal: return .prefix(keyCount / 4) | .causal(offset: 0)
        case .windowAndDocuments:
            return .slidingWindow(left: keyCount / 3, right: 2)
                & .documents(queries: documents(queryCount), keys: documents(keyCount))
        case .nested:
            return (.causal(offset: -1) | AttentionMask(EveryFifthHidden()))
                & (.boolean(random.booleans([sizes.headCount, 1, keyCount])) | .prefix(1))
        }
    }

    /// Returns whether a query may see a key, by the mask's definition.
    static func allows(_ mask: AttentionMask, batch: Int, head: Int, query: Int, key: Int) -> Bool {
        mask.rule?.allows(batch: batch, head: head, query: query, key: key) ?? true
    }
}
