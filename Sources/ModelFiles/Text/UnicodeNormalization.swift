/// Unicode's normalization forms (Unicode Standard Annex 15), by the tables of the Python package `tokenizers`.
struct UnicodeNormalization: Sendable {
    static let shared = UnicodeNormalization()

    /// Of each scalar: 8 bits of combining class, and 12 bits each for the index of its canonical and of its
    /// compatibility decomposition, 0 where there is none.
    private let entries: ScalarTable<UInt32>
    /// The decompositions' scalars; number i has `starts[i]..<starts[i + 1]`.
    private let scalars: [UInt32]
    private let starts: [Int]
    private let canonicalCount: Int
    private let composites: [UInt64: UInt32]

    private init() {
        var all = [UInt32](repeating: 0, count: 0x110000)
        var scalars: [UInt32] = []
        var starts = [0, 0]
        var canonicalCount = 0
        for (text, shift) in [(UnicodeTables.canonical, UInt32(8)), (UnicodeTables.compatibility, 20)] {
            // Compatibility decompositions are counted from 1 as well, after the canonical ones.
            let base = canonicalCount
            TableReader.forEachMapping(text) { character, becomes in
                all[character] |= UInt32(starts.count - 1 - base) << shift
                scalars += becomes
                starts.append(scalars.count)
            }
            if shift == 8 { canonicalCount = starts.count - 2 }
        }
        var reader = TableReader(UnicodeTables.combiningClasses)
        while let combiningClass = reader.next(), let count = reader.next() {
            var end = 0
            for _ in 0..<count.number {
                guard let gap = reader.next(), let length = reader.next() else { break }
                let start = end + Int(gap.number)
                end = start + Int(length.number)
                for index in start..<end { all[index] |= combiningClass.number }
            }
        }
        var composites: [UInt64: UInt32] = [:]
        reader = TableReader(UnicodeTables.compositions)
        while let first = reader.next(), let second = reader.next(), let composite = reader.next() {
            composites[UInt64(first.number) << 32 | UInt64(second.number)] = composite.number
        }
        entries = ScalarTable(all)
        self.scalars = scalars
        self.starts = starts
        self.composites = composites
        self.canonicalCount = canonicalCount
    }

    /// A scalar in a decomposed text.
    struct Item {
        var scalar: UInt32
        var combiningClass: UInt8
        var origin: TextBuffer.Origin
    }

    /// Whether a scalar neither decomposes nor changes places with another.
    @inline(__always)
    func isInert(_ scalar: UInt32) -> Bool {
        entries[scalar] == 0 && !(0xAC00 <= scalar && scalar < 0xD7A4)
    }

    /// Appends the decomposition of a scalar, at least one item and not yet in canonical order.
    @inline(__always)
    func decompose(
        _ scalar: UInt32, compatibility: Bool, _ origin: TextBuffer.Origin, into items: inout [Item]
    ) {
        if 0xAC00 <= scalar, scalar < 0xD7A4 {
            let index = scalar - 0xAC00
            items.append(Item(scalar: 0x1100 + index / 588, combiningClass: 0, origin: origin))
            items.append(Item(scalar: 0x1161 + index % 588 / 28, combiningClass: 0, origin: origin))
            if index % 28 > 0 { items.append(Item(scalar: 0x11A7 + index % 28, combiningClass: 0, origin: origin)) }
            return
        }
        let entry = entries[scalar]
        guard entry > 0xFF else {
            items.append(Item(scalar: scalar, combiningClass: UInt8(truncatingIfNeeded: entry), origin: origin))
            return
        }
        var index = Int(entry >> 8 & 0xFFF)
        if compatibility, entry >> 20 > 0 { index = Int(entry >> 20) + canonicalCount }
        guard index > 0 else {
            items.append(Item(scalar: scalar, combiningClass: UInt8(truncatingIfNeeded: entry), origin: origin))
            return
        }
        for part in scalars[starts[index]..<starts[index + 1]] {
            let combiningClass = UInt8(truncatingIfNeeded: entries[part])
            items.append(Item(scalar: part, combiningClass: combiningClass, origin: origin))
        }
    }

    /// Puts each run of combining characters into the order of their classes.
    func order(_ items: inout [Item]) {
        var index = 0
        while index < items.count {
            guard items[index].combiningClass > 0 else {
                index += 1
                continue
            }
            let start = index
            var isOrdered = true
            while index < items.count, items[index].combiningClass > 0 {
                if index > start, items[index - 1].combiningClass > items[index].combiningClass { isOrdered = false }
                index += 1
            }
            if isOrdered { continue }
            // The order must not change within a class; a run may be as long as the text.
            let sorted = items[start..<index].enumerated().sorted {
                ($0.element.combiningClass, $0.offset) < ($1.element.combiningClass, $1.offset)
            }
            for (offset, entry) in sorted.enumerated() { items[start + offset] = entry.element }
        }
    }

    /// Puts characters together where there is one for both.
    func compose(_ items: inout [Item]) {
        var count = 0
        var starter = -1
        // The class of the last item after the starter, or -1 where it is itself the last.
        var lastClass = -1
        for index in items.indices {
            let item = items[index]
            if starter >= 0, lastClass < Int(item.combiningClass) || lastClass == -1,
                let composite = composite(items[starter].scalar, item.scalar)
            {
                items[starter].scalar = composite
                items[starter].origin.end = Swift.max(items[starter].origin.end, item.origin.end)
                continue
            }
            if item.combiningClass == 0 {
                starter = count
                lastClass = -1
            } else {
                lastClass = Int(item.combiningClass)
            }
            items[count] = item
            count += 1
        }
        items.removeSubrange(count...)
    }

    private func composite(_ first: UInt32, _ second: UInt32) -> UInt32? {
        if 0x1100 <= first, first < 0x1113, 0x1161 <= second, second < 0x1176 {
            return 0xAC00 + ((first - 0x1100) * 21 + second - 0x1161) * 28
        }
        if 0xAC00 <= first, first < 0xD7A4, (first - 0xAC00) % 28 == 0, 0x11A8 <= second, second < 0x11C3 {
            return first + second - 0x11A7
        }
        return composites[UInt64(first) << 32 | UInt64(second)]
    }
}
