/// Query `i`, at position `p = i + offset`, sees the keys from `p - left` to `p + right`.
struct SlidingWindow: IntervalMaskRule {
    let left: Int?
    let right: Int?
    let offsets: PerSequence

    func visibleKeys(batch: Int, query: Int) -> Range<Int> {
        let position = query + offsets[batch]
        return (left.map { position - $0 } ?? Int.min)..<(right.map { position + $0 + 1 } ?? Int.max)
    }

    func problem(for shape: AttentionShape) -> String? {
        offsets.problem(as: "window offsets", for: shape)
    }
}

extension AttentionMask {
    /// Query `i`, at position `p = i + offset`, sees the keys from `p - left` to `p + right`, both included.
    ///
    /// - Parameters:
    ///   - left: How many keys before its own position a query sees, at least 0; `nil` is all.
    ///   - right: How many keys after its own position a query sees, at least 0; `nil` is all.
    ///   - offset: The position of the first query less that of the first key.
    /// - Returns: The mask.
    public static func slidingWindow(left: Int?, right: Int?, offset: Int = 0) -> AttentionMask {
        window(left: left, right: right, offsets: .shared(offset))
    }

    /// As ``slidingWindow(left:right:offset:)``, with an offset per sequence of the batch.
    ///
    /// - Parameters:
    ///   - left: How many keys before its own position a query sees, at least 0; `nil` is all.
    ///   - right: How many keys after its own position a query sees, at least 0; `nil` is all.
    ///   - offsets: One per sequence.
    /// - Returns: The mask.
    public static func slidingWindow(left: Int?, right: Int?, offsets: [Int]) -> AttentionMask {
        window(left: left, right: right, offsets: .each(offsets))
    }

    private static func window(left: Int?, right: Int?, offsets: PerSequence) -> AttentionMask {
        require(
            (left ?? 0) >= 0 && (right ?? 0) >= 0,
            "A window reaches \(left ?? 0) to the left and \(right ?? 0) to the right; neither may be negative."
        )
        return AttentionMask(
            SlidingWindow(
                left: left.map(PerSequence.clamped), right: right.map(PerSequence.clamped), offsets: offsets))
    }
}
