/// How tokens become text again: the decoders of the Python package `tokenizers`, token by token.
struct TokenDecoder: Sendable {
    /// A step from a token's text to the bytes that it stands for.
    enum Step: Sendable {
        /// Takes `##` off, or puts a space in front of all but the first token.
        case wordPiece(prefix: [UInt8], cleansUp: Bool)
        /// Makes marks spaces; the first token's, where texts got one in front, go.
        case metaspace(mark: [UInt8], prepends: Bool)
        case replace(TextPattern, with: [UInt8])
        /// Takes so many of a character off the beginning and the end.
        case strip([UInt8], start: Int, end: Int, ofWholeText: Bool)
        /// Takes the characters of GPT-2's alphabet for bytes.
        case byteLevel
        /// Takes tokens such as `<0x0A>` for bytes.
        case byteFallback
    }

    /// The steps; `nil` puts spaces between the tokens.
    let steps: [Step]?

    /// Appends what a token stands for.
    func append(_ token: ArraySlice<UInt8>, isFirst: Bool, to bytes: inout [UInt8]) {
        guard let steps else {
            if !isFirst { bytes.append(0x20) }
            bytes += token
            return
        }
        var text = Array(token)
        for step in steps { text = step.apply(text, isFirst: isFirst) }
        bytes += text
    }

    /// The byte that a token such as `<0x0A>` stands for, or `nil`.
    static func fallbackByte(_ token: some Collection<UInt8>) -> UInt8? {
        guard token.count == 6, token.starts(with: "<0x".utf8), token.dropFirst(5).first == UInt8(ascii: ">") else {
            return nil
        }
        let digits = token.dropFirst(3).prefix(2)
        guard digits.allSatisfy({ 0x30...0x39 ~= $0 || 0x41...0x46 ~= $0 || 0x61...0x66 ~= $0 }) else { return nil }
        return UInt8(String(decoding: digits, as: UTF8.self), radix: 16)
    }
}

extension TokenDecoder.Step {
    fileprivate func apply(_ text: [UInt8], isFirst: Bool) -> [UInt8] {
        switch self {
        case .wordPiece(let prefix, let cleansUp):
            var result = text
            if !isFirst {
                if !prefix.isEmpty, text.starts(with: prefix) {
                    result.removeFirst(prefix.count)
                } else {
                    result.insert(0x20, at: 0)
                }
            }
            return cleansUp ? Self.cleanedUp(result) : result
        case .metaspace(let mark, let prepends):
            return replacing(.literal(mark), by: isFirst && prepends ? [] : [0x20], in: text)
        case .replace(let pattern, let content):
            return replacing(pattern, by: content, in: text)
        case .strip(let character, let start, let end, let ofWholeText):
            var result = text[...]
            if !ofWholeText || isFirst {
                for _ in 0..<start where result.starts(with: character) { result = result.dropFirst(character.count) }
            }
            for _ in 0..<end where result.count >= character.count && result.suffix(character.count) == character[...] {
                result = result.dropLast(character.count)
            }
            return Array(result)
        case .byteLevel:
            var bytes: [UInt8] = []
            let isDecoded = text.withUnsafeBytes { ByteAlphabet.decode($0, into: &bytes) }
            return isDecoded ? bytes : text
        case .byteFallback:
            return TokenDecoder.fallbackByte(text).map { [$0] } ?? text
        }
    }

    private func replacing(_ pattern: TextPattern, by content: [UInt8], in text: [UInt8]) -> [UInt8] {
        text.withUnsafeBytes { bytes in
            var result: [UInt8] = []
            var copied = 0
            while let match = pattern.firstMatch(in: bytes, from: copied) {
                result += bytes[copied..<match.lowerBound]
                result += content
                copied = match.upperBound
            }
            // Most tokens have nothing to replace, and are as they were.
            if copied == 0 { return text }
            result += bytes[copied...]
            return result
        }
    }

    /// English text without the spaces that cutting has put before punctuation and contractions.
    private static let cleanUps: [Self] = [
        (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
        (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
    ].map { .replace(.literal(Array($0.utf8)), with: Array($1.utf8)) }

    private static func cleanedUp(_ text: [UInt8]) -> [UInt8] {
        cleanUps.reduce(text) { $1.apply($0, isFirst: false) }
    }
}
