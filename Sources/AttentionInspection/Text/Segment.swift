/// A word of a sentence, or a token: what the explanation has a line for.
public struct Segment: Sendable, Hashable {
    /// The text without the white space around it; a token's text as the model sees it where it is not whole.
    public let text: String
    /// Which tokens it consists of.
    public let tokens: Range<Int>

    /// Creates a segment.
    package init(text: String, tokens: Range<Int>) {
        self.text = text
        self.tokens = tokens
    }

    /// Whether there is nothing to read in it.
    var isWhiteSpace: Bool { text == Self.whiteSpace || text.trimmingWhiteSpace.isEmpty }

    /// What white space without a word after it is shown as.
    private static let whiteSpace = "\u{2423}"
}

extension Segment {
    /// Merges tokens to words.
    ///
    /// A word is a run of letters, digits and what joins them (an apostrophe, a hyphen or a point between two of
    /// them), or a run of other characters that are no white space. Marks and invisible joiners belong to what they
    /// follow. White space belongs to the word after it, as it
    /// does in the tokens. Where a token covers parts of two words, they are one segment: every token belongs to
    /// exactly one.
    ///
    /// - Parameters:
    ///   - text: UTF-8.
    ///   - tokenEnds: Where each token ends, in bytes, in ascending order; the last is the text's end.
    ///   - leadingTokenTexts: The texts of tokens in front of the text's own, each a segment of its own.
    /// - Returns: The segments in order.
    package static func words(of text: [UInt8], tokenEnds: [Int], leadingTokenTexts: [String] = []) -> [Segment] {
        var segments = leadingTokenTexts.enumerated().map { Segment(text: $1, tokens: $0..<$0 + 1) }
        let wordEnds = Set(wordBoundaries(of: text))
        var firstToken = 0
        var start = 0
        for (token, end) in tokenEnds.enumerated() {
            // The last token ends with the text, white space at its end included.
            guard wordEnds.contains(end) || token == tokenEnds.count - 1 else { continue }
            let offset = leadingTokenTexts.count
            segments.append(
                Segment(
                    text: trimmed(text[start..<end]), tokens: firstToken + offset..<token + 1 + offset))
            firstToken = token + 1
            start = end
        }
        return segments
    }

    /// Where words end, in bytes.
    private static func wordBoundaries(of text: [UInt8]) -> [Int] {
        enum Kind {
            case space
            case word
            case other
        }
        let scalars = Array(String(decoding: text, as: UTF8.self).unicodeScalars)
        func kind(_ scalar: Unicode.Scalar, after previous: Kind) -> Kind {
            if scalar.properties.isWhitespace { return .space }
            switch scalar.properties.generalCategory {
            case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter, .decimalNumber,
                .letterNumber, .otherNumber, .connectorPunctuation:
                return .word
            // Accents, an emoji's variation selector and invisible joiners belong to what they follow.
            case .nonspacingMark, .spacingMark, .enclosingMark, .format: return previous == .space ? .word : previous
            default: return .other
            }
        }
        let joiners: Set<Unicode.Scalar> = ["'", "\u{2019}", "-", "\u{2010}", "."]
        var kinds: [Kind] = []
        for scalar in scalars { kinds.append(kind(scalar, after: kinds.last ?? .space)) }
        for index in scalars.indices.dropFirst().dropLast() where joiners.contains(scalars[index]) {
            if kinds[index - 1] == .word && kinds[index + 1] == .word { kinds[index] = .word }
        }
        var ends: [Int] = []
        var position = 0
        for index in scalars.indices {
            position += UTF8.width(scalars[index])
            let isLast = index == scalars.count - 1
            if kinds[index] != .space && (isLast || kinds[index + 1] != kinds[index]) { ends.append(position) }
        }
        return ends
    }

    private static func trimmed(_ bytes: ArraySlice<UInt8>) -> String {
        let text = String(decoding: bytes, as: UTF8.self).trimmingWhiteSpace
        return text.isEmpty ? whiteSpace : text
    }
}

extension String {
    /// The text without the white space around it.
    var trimmingWhiteSpace: String {
        let isSpace = { (scalar: Unicode.Scalar) in scalar.properties.isWhitespace }
        guard let first = unicodeScalars.firstIndex(where: { !isSpace($0) }),
            let last = unicodeScalars.lastIndex(where: { !isSpace($0) })
        else { return "" }
        return String(unicodeScalars[first...last])
    }
}
