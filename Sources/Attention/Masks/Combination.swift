/// Shows what both rules show.
struct Intersection: MaskRule {
    let first: any MaskRule
    let second: any MaskRule

    func allows(batch: Int, head: Int, query: Int, key: Int) -> Bool {
        first.allows(batch: batch, head: head, query: query, key: key)
            && second.allows(batch: batch, head: head, query: query, key: key)
    }

    func coverage(of tile: MaskTile) -> MaskCoverage {
        switch (first.coverage(of: tile), second.coverage(of: tile)) {
        case (.empty, _), (_, .empty): .empty
        case (.full, .full): .full
        default: .partial
        }
    }

    func fill(
        _ allowed: UnsafeMutableBufferPointer<Bool>, batch: Int, head: Int, query: Int, keys: Range<Int>
    ) {
        combine(allowed, first, second, batch: batch, head: head, query: query, keys: keys) { $0 && $1 }
    }

    func problem(for shape: AttentionShape) -> String? {
        first.problem(for: shape) ?? second.problem(for: shape)
    }
}

extension MaskRule {
    /// The rule as one that shows each query a run of neighbouring keys, or `nil` if it is none.
    var intervals: (any IntervalMaskRule)? {
        if let rule = self as? any IntervalMaskRule { return rule }
        guard let both = self as? Intersection, let first = both.first.intervals, let second = both.second.intervals
        else { return nil }
        return CommonInterval(first: first, second: second)
    }
}

/// An intersection of runs of neighbouring keys, which is one too.
private struct CommonInterval: IntervalMaskRule {
    let first: any IntervalMaskRule
    let second: any IntervalMaskRule

    func visibleKeys(batch: Int, query: Int) -> Range<Int> {
        first.visibleKeys(batch: batch, query: query).clamped(to: second.visibleKeys(batch: batch, query: query))
    }
}

/// Shows what either rule shows.
struct Union: MaskRule {
    let first: any MaskRule
    let second: any MaskRule

    func allows(batch: Int, head: Int, query: Int, key: Int) -> Bool {
        first.allows(batch: batch, head: head, query: query, key: key)
            || second.allows(batch: batch, head: head, query: query, key: key)
    }

    func coverage(of tile: MaskTile) -> MaskCoverage {
        switch (first.coverage(of: tile), second.coverage(of: tile)) {
        case (.full, _), (_, .full): .full
        case (.empty, .empty): .empty
        default: .partial
        }
    }

    func fill(
        _ allowed: UnsafeMutableBufferPointer<Bool>, batch: Int, head: Int, query: Int, keys: Range<Int>
    ) {
        combine(allowed, first, second, batch: batch, head: head, query: query, keys: keys) { $0 || $1 }
    }

    func problem(for shape: AttentionShape) -> String? {
        first.problem(for: shape) ?? second.problem(for: shape)
    }
}

private func combine(
    _ allowed: UnsafeMutableBufferPointer<Bool>, _ first: any MaskRule, _ second: any MaskRule, batch: Int,
    head: Int, query: Int, keys: Range<Int>, with operation: (Bool, Bool) -> Bool
) {
    first.fill(allowed, batch: batch, head: head, query: query, keys: keys)
    withUnsafeTemporaryAllocation(of: Bool.self, capacity: keys.count) { other in
        other.initialize(repeating: false)
        second.fill(other, batch: batch, head: head, query: query, keys: keys)
        for index in allowed.indices {
            allowed[index] = operation(allowed[index], other[index])
        }
    }
}
