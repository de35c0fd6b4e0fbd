/// The tokens that are found in a text before the model sees it.
struct AddedTokens: Sendable {
    /// A token and how it is found.
    struct Token: Sendable {
        var id: Int32
        var text: [UInt8]
        /// Whether it steers the model: text makes it only where the caller allows that.
        var isSpecial = false
        /// Whether whitespace before and behind it is taken with it.
        var stripsLeft = false
        var stripsRight = false
        /// Whether it is found only where no word character touches it.
        var isSingleWord = false
        /// Whether it is looked for in the normalised text, in its own normalised form.
        var isNormalized = false
    }

    let tokens: [Token]
    private let raw: Finder
    private let normalized: Finder

    /// Creates the set.
    ///
    /// - Parameters:
    ///   - tokens: The tokens, in the file's order.
    ///   - normalize: Normalises a text.
    init(_ tokens: [Token], normalize: ([UInt8]) throws -> [UInt8]) rethrows {
        self.tokens = tokens
        // Special tokens come first: of two with one text they count.
        let ordered = tokens.filter(\.isSpecial) + tokens.filter { !$0.isSpecial }
        raw = Finder(ordered.filter { !$0.isNormalized }.map { ($0.text, $0) })
        normalized = Finder(try ordered.filter(\.isNormalized).map { (try normalize($0.text), $0) })
    }

    /// Calls `body` with the stretches of the text as it comes, and with the tokens between them.
    @inline(__always)
    func forEachRaw(
        in text: UnsafeRawBufferPointer, recognizingSpecialTokens: Bool,
        _ body: (Int32?, Range<Int>) throws(TokenizerError) -> Void
    ) throws(TokenizerError) {
        try raw.forEach(in: text, recognizingSpecialTokens: recognizingSpecialTokens, body)
    }

    /// Calls `body` with the stretches of a normalised text, and with the tokens between them.
    @inline(__always)
    func forEachNormalized(
        in text: UnsafeRawBufferPointer, recognizingSpecialTokens: Bool,
        _ body: (Int32?, Range<Int>) throws(TokenizerError) -> Void
    ) throws(TokenizerError) {
        try normalized.forEach(in: text, recognizingSpecialTokens: recognizingSpecialTokens, body)
    }

    /// Finds tokens from left to right, of those that begin at one place the longest.
    private struct Finder: Sendable {
        private let tokens: [Token]
        private let trie: ByteTrie
        private let begins: [Bool]

        init(_ entries: [(text: [UInt8], token: Token)]) {
            tokens = entries.map(\.token)
            // The trie takes the last of equal texts; the first is wanted.
            trie = ByteTrie(
                entries.enumerated().reversed().map { ($0.element.text[...], Int32(truncatingIfNeeded: $0.offset)) })
            var begins = [Bool](repeating: false, count: 256)
            for entry in entries {
                if let first = entry.text.first { begins[Int(first)] = true }
            }
            self.begins = begins
        }

        @inline(__always)
        func forEach(
            in text: UnsafeRawBufferPointer, recognizingSpecialTokens: Bool,
            _ body: (Int32?, Range<Int>) throws(TokenizerError) -> Void
        ) throws(TokenizerError) {
            var start = 0
            if !tokens.isEmpty {
                var offset = 0
                while let match = nextMatch(in: text, from: offset) {
                    offset = match.range.upperBound
                    let token = match.token
                    guard let range = range(of: match, in: text, behind: start, recognizingSpecialTokens) else {
                        continue
                    }
                    if start < range.lowerBound { try body(nil, start..<range.lowerBound) }
                    try body(token.id, range)
                    start = range.upperBound
                }
            }
            if start < text.count { try body(nil, start..<text.count) }
        }

        private func nextMatch(
            in text: UnsafeRawBufferPointer, from start: Int
        ) -> (token: Token, range: Range<Int>)? {
            begins.withUnsafeBufferPointer { begins in
                var offset = start
                while offset < text.count {
                    if begins[Int(text[offset])], let match = trie.longestMatch(in: text, from: offset) {
                        return (tokens[Int(match.value)], offset..<match.end)
                    }
                    offset += 1
                }
                return nil
            }
        }

        /// The range that a token takes, or `nil` where it is plain text.
        private func range(
            of match: (token: Token, range: Range<Int>), in text: UnsafeRawBufferPointer, behind limit: Int,
            _ recognizingSpecialTokens: Bool
        ) -> Range<Int>? {
            let token = match.token
            if token.isSpecial, !recognizingSpecialTokens { return nil }
            var (start, end) = (match.range.lowerBound, match.range.upperBound)
            if token.isSingleWord {
                if start > 0, isWord(text, text.startOfScalar(before: start)) { return nil }
                if end < text.count, isWord(text, end) { return nil }
            }
            // Whitespace that the token before has taken is not taken again, so that each byte is looked at twice at most.
            while token.stripsLeft, start > limit {
                let before = text.startOfScalar(before: start)
                guard isWhitespace(text, before) else { break }
                start = before
            }
            end = Swift.max(end, limit)
            while token.stripsRight, end < text.count, isWhitespace(text, end) {
                end += text.utf8Scalar(at: end).length
            }
            // The token before may have taken whitespace that begins this one.
            return Swift.min(Swift.max(start, limit), end)..<end
        }

        private func isWord(_ text: UnsafeRawBufferPointer, _ offset: Int) -> Bool {
            CharacterClasses.of(text.utf8Scalar(at: offset).value).contains(.word)
        }

        private func isWhitespace(_ text: UnsafeRawBufferPointer, _ offset: Int) -> Bool {
            CharacterClasses.of(text.utf8Scalar(at: offset).value).contains(.whitespace)
        }
    }
}
