/// How a text is cut: what is looked for, and what becomes of what is found.
struct Splitter: Sendable {
    /// What is looked for.
    enum Matcher: Sendable {
        /// Each character that is of one of the classes.
        case classes(CharacterClasses)
        /// Each of this character.
        case character(UInt32)
        /// A pattern within the text.
        case pattern(TextPattern)
        /// A pattern that covers all of the text.
        case pieces(PiecePattern)
        /// `\w+|[^\w\s]+`.
        case words
        /// So many characters, fewer at the end.
        case length(Int)
        /// Punctuation on its own, between words without whitespace: BERT's way.
        case bert
    }

    /// What becomes of a match, by the names of the Python package `tokenizers`.
    enum Behavior: String, CaseIterable {
        case removed = "Removed"
        case isolated = "Isolated"
        case mergedWithPrevious = "MergedWithPrevious"
        case mergedWithNext = "MergedWithNext"
        case contiguous = "Contiguous"
    }

    var matcher: Matcher
    var behavior = Behavior.isolated
    /// Whether what lies between matches is the match.
    var isInverted = false

    /// Appends the pieces of `range` of a text, none of them empty.
    func split(_ text: UnsafeRawBufferPointer, _ range: Range<Int>, into pieces: inout [Range<Int>]) {
        switch (matcher, behavior, isInverted) {
        case (.bert, _, _):
            splitLikeBERT(text, range, into: &pieces)
        case (.pieces(let pattern), .isolated, _), (.pieces(let pattern), .contiguous, _),
            (.pieces(let pattern), .removed, true):
            // Nothing lies between the matches of such a pattern.
            if case .contiguous = behavior {
                pieces.append(range)
                return
            }
            var iterator = PieceIterator(UnsafeRawBufferPointer(rebasing: text[range]), pattern)
            while let piece = iterator.next() {
                pieces.append(range.lowerBound + piece.lowerBound..<range.lowerBound + piece.upperBound)
            }
        default:
            var combiner = Combiner(behavior: behavior, start: range.lowerBound)
            forEachMatch(text, range) { match in
                if match.lowerBound > combiner.end { combiner.add(upTo: match.lowerBound, isMatch: isInverted) }
                combiner.add(upTo: match.upperBound, isMatch: !isInverted)
            }
            if range.upperBound > combiner.end { combiner.add(upTo: range.upperBound, isMatch: isInverted) }
            combiner.finish()
            pieces += combiner.pieces
        }
    }

    /// Puts matches and what lies between them together.
    private struct Combiner {
        let behavior: Behavior
        var pieces: [Range<Int>] = []
        var end: Int
        /// Whether the last stretch was a match, `nil` before the first.
        private var wasMatch: Bool?
        /// Where a match begins that goes with what follows.
        private var pending: Int?

        init(behavior: Behavior, start: Int) {
            self.behavior = behavior
            end = start
        }

        mutating func add(upTo newEnd: Int, isMatch: Bool) {
            let range = end..<newEnd
            switch behavior {
            case .removed:
                if !isMatch { pieces.append(range) }
            case .isolated:
                pieces.append(range)
            case .contiguous:
                merge(range, if: wasMatch == isMatch)
            case .mergedWithPrevious:
                merge(range, if: isMatch && wasMatch == false)
            case .mergedWithNext:
                // A match goes with what is no match behind it; of several in a row the last.
                if isMatch {
                    flush()
                    pending = range.lowerBound
                } else {
                    pieces.append((pending ?? range.lowerBound)..<range.upperBound)
                    pending = nil
                }
            }
            wasMatch = isMatch
            end = newEnd
        }

        mutating func finish() { flush() }

        private mutating func flush() {
            if let start = pending { pieces.append(start..<end) }
            pending = nil
        }

        private mutating func merge(_ range: Range<Int>, if isMerged: Bool) {
            if isMerged, let last = pieces.popLast() {
                pieces.append(last.lowerBound..<range.upperBound)
            } else {
                pieces.append(range)
            }
        }
    }

    @inline(__always)
    private func forEachMatch(_ text: UnsafeRawBufferPointer, _ range: Range<Int>, _ body: (Range<Int>) -> Void) {
        switch matcher {
        case .classes(let classes):
            forEachScalar(text, range) { scalar, range in
                if !CharacterClasses.of(scalar).isDisjoint(with: classes) { body(range) }
            }
        case .character(let character):
            forEachScalar(text, range) { scalar, range in
                if scalar == character { body(range) }
            }
        case .pattern(let pattern):
            let stretch = UnsafeRawBufferPointer(rebasing: text[..<range.upperBound])
            var offset = range.lowerBound
            while let match = pattern.firstMatch(in: stretch, from: offset) {
                body(match)
                offset = match.upperBound
            }
        case .pieces(let pattern):
            var iterator = PieceIterator(UnsafeRawBufferPointer(rebasing: text[range]), pattern)
            while let piece = iterator.next() {
                body(range.lowerBound + piece.lowerBound..<range.lowerBound + piece.upperBound)
            }
        case .words:
            var start = range.lowerBound
            var last: UInt8 = 0
            forEachScalar(text, range) { scalar, scalarRange in
                let classes = CharacterClasses.of(scalar)
                let kind: UInt8 = classes.contains(.word) ? 1 : classes.contains(.whitespace) ? 0 : 2
                if kind != last {
                    if last != 0 { body(start..<scalarRange.lowerBound) }
                    start = scalarRange.lowerBound
                    last = kind
                }
            }
            if last != 0 { body(start..<range.upperBound) }
        case .length(let length):
            var start = range.lowerBound
            var count = 0
            forEachScalar(text, range) { _, scalarRange in
                count += 1
                if count == length {
                    body(start..<scalarRange.upperBound)
                    start = scalarRange.upperBound
                    count = 0
                }
            }
            if start < range.upperBound { body(start..<range.upperBound) }
        case .bert:
            break  // Has a loop of its own.
        }
    }

    @inline(__always)
    private func forEachScalar(
        _ text: UnsafeRawBufferPointer, _ range: Range<Int>, _ body: (UInt32, Range<Int>) -> Void
    ) {
        var offset = range.lowerBound
        while offset < range.upperBound {
            let (scalar, length) = text.utf8Scalar(at: offset)
            body(scalar, offset..<offset + length)
            offset += length
        }
    }

    private static let bertBorders = CharacterClasses.whitespace.union(.punctuation)

    private func splitLikeBERT(_ text: UnsafeRawBufferPointer, _ range: Range<Int>, into pieces: inout [Range<Int>]) {
        let borders = Self.bertBorders.rawValue
        CharacterClasses.ascii.withUnsafeBufferPointer { ascii in
            var start = range.lowerBound
            var offset = start
            while offset < range.upperBound {
                let byte = text[offset]
                var length = 1
                var classes: UInt16
                if byte < 0x80 {
                    classes = ascii[Int(byte)]
                } else {
                    let (scalar, scalarLength) = text.utf8Scalar(at: offset)
                    classes = CharacterClasses.of(scalar).rawValue
                    length = scalarLength
                }
                classes &= borders
                if classes != 0 {
                    if offset > start { pieces.append(start..<offset) }
                    start = offset + length
                    if classes & CharacterClasses.whitespace.rawValue == 0 { pieces.append(offset..<start) }
                }
                offset += length
            }
            if range.upperBound > start { pieces.append(start..<range.upperBound) }
        }
    }
}
