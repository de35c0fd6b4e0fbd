extension Array where Element: BinaryFloatingPoint {
    /// Returns where the largest elements stand, the largest first, the earlier of equals first; NaN is passed over.
    ///
    /// A few of a whole vocabulary are found without sorting it, which would take longer than a small model's step.
    ///
    /// - Parameter count: How many at most.
    /// - Returns: Their indices.
    package func indicesOfLargest(_ count: Int) -> [Int] {
        // Beyond this, moving what was found costs more than a sort.
        if count > 256 {
            let ranked = indices.filter { !self[$0].isNaN }.sorted { (self[$0], $1) > (self[$1], $0) }
            return [Int](ranked.prefix(count))
        }
        var best: [Int] = []
        for index in indices where !self[index].isNaN {
            if best.count == count {
                guard let last = best.last, self[index] > self[last] else { continue }
                best.removeLast()
            }
            best.insert(index, at: best.firstIndex { self[index] > self[$0] } ?? best.count)
        }
        return best
    }
}
