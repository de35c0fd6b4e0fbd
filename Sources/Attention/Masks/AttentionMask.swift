/// Which keys a query may see.
///
/// Masks combine with `&` and `|`:
///
/// ```swift
/// let mask = AttentionMask.causal(offset: 0) & .slidingWindow(left: 128, right: 0) & .lengths([17, 23])
/// ```
///
/// A key that a query may not see is never read numerically: a NaN there reaches no output. A query that may
/// see nothing yields zeros.
public struct AttentionMask: Sendable {
    /// The rule, or `nil` where every query sees every key.
    public let rule: (any MaskRule)?

    /// Creates a mask from a rule of one's own.
    ///
    /// - Parameter rule: Says which keys a query may see.
    public init(_ rule: any MaskRule) {
        self.rule = rule
    }

    private init() {
        rule = nil
    }

    /// Every query sees every key.
    public static let none = AttentionMask()

    /// Returns the mask that shows what both show.
    ///
    /// - Parameters:
    ///   - left: A mask.
    ///   - right: Another.
    /// - Returns: Their intersection.
    public static func & (left: AttentionMask, right: AttentionMask) -> AttentionMask {
        guard let first = left.rule else { return right }
        guard let second = right.rule else { return left }
        return AttentionMask(Intersection(first: first, second: second))
    }

    /// Returns the mask that shows what either shows.
    ///
    /// - Parameters:
    ///   - left: A mask.
    ///   - right: Another.
    /// - Returns: Their union.
    public static func | (left: AttentionMask, right: AttentionMask) -> AttentionMask {
        guard let first = left.rule, let second = right.rule else { return .none }
        return AttentionMask(Union(first: first, second: second))
    }
}

/// How much of a tile of queries and keys a mask shows.
public enum MaskCoverage: Sendable, Hashable {
    /// Nothing: the tile is skipped.
    case empty
    /// Everything: the tile needs no mask code.
    case full
    /// Some of it, or not known without looking at each pair.
    case partial
}

/// A block of queries and keys of one head.
public struct MaskTile: Sendable {
    /// The sequence's index in the batch.
    public let batch: Int
    /// The query head.
    public let head: Int
    /// The queries' indices.
    public let queries: Range<Int>
    /// The keys' indices.
    public let keys: Range<Int>

    /// Creates a tile.
    ///
    /// - Parameters:
    ///   - batch: The sequence's index in the batch.
    ///   - head: The query head.
    ///   - queries: The queries' indices.
    ///   - keys: The keys' indices.
    public init(batch: Int, head: Int, queries: Range<Int>, keys: Range<Int>) {
        self.batch = batch
        self.head = head
        self.queries = queries
        self.keys = keys
    }
}

/// Says which keys a query may see.
///
/// A mask of one's own needs only ``allows(batch:head:query:key:)``.
public protocol MaskRule: Sendable {
    /// Returns whether a query may see a key: the definition, which every faster path is tested against.
    ///
    /// - Parameters:
    ///   - batch: The sequence's index in the batch.
    ///   - head: The query head.
    ///   - query: The query's index.
    ///   - key: The key's index.
    /// - Returns: Whether the query may see the key.
    func allows(batch: Int, head: Int, query: Int, key: Int) -> Bool

    /// Returns how much of a tile the mask shows. It may say ``MaskCoverage/partial`` whenever it does not
    /// know; the default does.
    ///
    /// - Parameter tile: Not empty.
    /// - Returns: How much of the tile the mask shows.
    func coverage(of tile: MaskTile) -> MaskCoverage

    /// Writes which keys of a row a query may see. The default asks for each key.
    ///
    /// - Parameters:
    ///   - allowed: As many as `keys`.
    ///   - batch: The sequence's index in the batch.
    ///   - head: The query head.
    ///   - query: The query's index.
    ///   - keys: The keys' indices.
    func fill(_ allowed: UnsafeMutableBufferPointer<Bool>, batch: Int, head: Int, query: Int, keys: Range<Int>)

    /// Returns why the mask does not fit a shape, with both values, or `nil` if it does. The default accepts all.
    ///
    /// - Parameter shape: What the operator is called with.
    /// - Returns: A sentence, or `nil`.
    func problem(for shape: AttentionShape) -> String?
}

extension MaskRule {
    /// Returns ``MaskCoverage/partial``: every pair is looked at.
    ///
    /// - Parameter tile: Not empty.
    /// - Returns: ``MaskCoverage/partial``.
    public func coverage(of tile: MaskTile) -> MaskCoverage { .partial }

    /// Asks ``allows(batch:head:query:key:)`` for each key.
    ///
    /// - Parameters:
    ///   - allowed: As many as `keys`.
    ///   - batch: The sequence's index in the batch.
    ///   - head: The query head.
    ///   - query: The query's index.
    ///   - keys: The keys' indices.
    public func fill(
        _ allowed: UnsafeMutableBufferPointer<Bool>, batch: Int, head: Int, query: Int, keys: Range<Int>
    ) {
        for (index, key) in keys.enumerated() {
            allowed[index] = allows(batch: batch, head: head, query: query, key: key)
        }
    }

    /// Accepts every shape.
    ///
    /// - Parameter shape: What the operator is called with.
    /// - Returns: `nil`.
    public func problem(for shape: AttentionShape) -> String? { nil }
}

/// A rule that shows each query one run of neighbouring keys.
protocol IntervalMaskRule: MaskRule {
    /// Which keys the query sees; may reach beyond the keys that there are. The bounds never fall as the
    /// query's index rises, so that two queries tell about all between them.
    func visibleKeys(batch: Int, query: Int) -> Range<Int>
}

extension IntervalMaskRule {
    func allows(batch: Int, head: Int, query: Int, key: Int) -> Bool {
        visibleKeys(batch: batch, query: query).contains(key)
    }

    func coverage(of tile: MaskTile) -> MaskCoverage {
        let first = visibleKeys(batch: tile.batch, query: tile.queries.lowerBound)
        let last = visibleKeys(batch: tile.batch, query: tile.queries.upperBound - 1)
        if last.upperBound <= tile.keys.lowerBound || first.lowerBound >= tile.keys.upperBound { return .empty }
        let isFull = last.lowerBound <= tile.keys.lowerBound && first.upperBound >= tile.keys.upperBound
        return isFull ? .full : .partial
    }

    func fill(
        _ allowed: UnsafeMutableBufferPointer<Bool>, batch: Int, head: Int, query: Int, keys: Range<Int>
    ) {
        let visible = visibleKeys(batch: batch, query: query).clamped(to: keys)
        allowed.update(repeating: false)
        if !visible.isEmpty {
            let run = visible.lowerBound - keys.lowerBound..<visible.upperBound - keys.lowerBound
            UnsafeMutableBufferPointer(rebasing: allowed[run]).update(repeating: true)
        }
    }
}

/// A number per sequence of the batch, or one for all.
struct PerSequence: Sendable {
    let values: [Int]
    let isShared: Bool

    subscript(batch: Int) -> Int { isShared ? values[0] : values[batch] }

    static func shared(_ value: Int) -> PerSequence { PerSequence(values: [clamped(value)], isShared: true) }
    static func each(_ values: [Int]) -> PerSequence { PerSequence(values: values.map(clamped), isShared: false) }

    /// No sequence is as long, and positions can be added without overflow.
    static func clamped(_ value: Int) -> Int { min(max(value, -(Int.max / 4)), Int.max / 4) }

    func problem(as name: String, for shape: AttentionShape) -> String? {
        if isShared || values.count == shape.batchCount { return nil }
        return "There are \(values.count) \(name), but the batch has \(shape.batchCount) sequences."
    }
}
