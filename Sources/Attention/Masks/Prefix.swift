/// Every query sees the first keys.
struct Prefix: IntervalMaskRule {
    let lengths: PerSequence

    func visibleKeys(batch: Int, query: Int) -> Range<Int> {
        Int.min..<lengths[batch]
    }

    func problem(for shape: AttentionShape) -> String? {
        lengths.problem(as: "prefix lengths", for: shape)
    }
}

extension AttentionMask {
    /// Every query sees the first `length` keys.
    ///
    /// With `| .causal(offset: 0)`, the mask of a prefix language
    /// model: the prefix sees itself whole, what follows sees backwards.
    ///
    /// Raffel et al., "Exploring the Limits of Transfer Learning", 2019 (arXiv:1910.10683), figure 3.
    ///
    /// - Parameter length: How many keys the prefix has.
    /// - Returns: The mask.
    public static func prefix(_ length: Int) -> AttentionMask {
        AttentionMask(Prefix(lengths: .shared(length)))
    }

    /// Every query of sequence `b` sees the first `lengths[b]` keys.
    ///
    /// - Parameter lengths: One per sequence of the batch.
    /// - Returns: The mask.
    public static func prefix(_ lengths: [Int]) -> AttentionMask {
        AttentionMask(Prefix(lengths: .each(lengths)))
    }
}
