/// Keys beyond a sequence's length are padding.
///
/// To the rule it is a prefix; the meaning and the check differ.
struct Lengths: IntervalMaskRule {
    let lengths: [Int]

    func visibleKeys(batch: Int, query: Int) -> Range<Int> {
        Int.min..<lengths[batch]
    }

    func problem(for shape: AttentionShape) -> String? {
        if lengths.count != shape.batchCount {
            return "There are \(lengths.count) lengths, but the batch has \(shape.batchCount) sequences."
        }
        if !lengths.allSatisfy({ 0...shape.keyCount ~= $0 }) {
            return "The lengths \(lengths) are not between 0 and the \(shape.keyCount) keys."
        }
        return nil
    }
}

extension AttentionMask {
    /// Sequence `b` has `lengths[b]` keys; those beyond are padding that nobody sees.
    ///
    /// - Parameter lengths: One per sequence of the batch, from 0 to the number of keys.
    /// - Returns: The mask.
    public static func lengths(_ lengths: [Int]) -> AttentionMask {
        AttentionMask(Lengths(lengths: lengths))
    }
}
