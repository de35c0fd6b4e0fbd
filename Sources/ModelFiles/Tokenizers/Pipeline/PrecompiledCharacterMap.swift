/// SentencePiece's normalisation: a double-array trie of what is replaced, and the texts that replace it.
///
/// Kudo and Richardson, "SentencePiece", 2018 (arXiv:1808.06226); the trie is that of Darts-clone. A grapheme cluster of
/// fewer than 6 bytes is replaced as a whole by the entry of its shortest prefix, as the Python package `tokenizers`
/// does it; SentencePiece itself takes the longest. Clusters are Swift's.
struct PrecompiledCharacterMap: Sendable {
    private let units: [UInt32]
    private let texts: [UInt8]
    /// Whether each byte of ASCII stays as it is.
    private let keepsASCII: [Bool]

    /// Reads a map as SentencePiece stores it, or returns `nil` where its lengths contradict each other.
    init?(_ bytes: [UInt8]) {
        func word(_ offset: Int) -> UInt32 {
            (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) }
        }
        guard bytes.count >= 4 else { return nil }
        let byteCount = Int(word(0))
        guard byteCount % 4 == 0, byteCount <= bytes.count - 4 else { return nil }
        let units = stride(from: 4, to: 4 + byteCount, by: 4).map(word)
        let texts = Array(bytes[(4 + byteCount)...])
        guard texts.withUnsafeBytes({ $0.offsetOfInvalidUTF8 }) == nil else { return nil }
        var keepsASCII: [Bool] = []
        for byte in UInt8(0)..<0x80 {
            keepsASCII.append(
                withUnsafeBytes(of: byte) { Self.replacement($0, units: units, texts: texts) == nil })
        }
        keepsASCII[0x0D] = false  // With a line feed it is one cluster.
        self.units = units
        self.texts = texts
        self.keepsASCII = keepsASCII
    }

    /// Returns where in `texts` the replacement of a text's shortest prefix stands, or `nil` where no prefix has one.
    private static func replacement(
        _ key: UnsafeRawBufferPointer, units: [UInt32], texts: [UInt8]
    ) -> Range<Int>? {
        guard var unit = units.first else { return nil }
        func offset(_ unit: UInt32) -> Int { Int(unit >> 10) << Int((unit & 1 << 9) >> 6) }
        var node = offset(unit)
        for byte in key {
            if byte == 0 { return nil }
            node ^= Int(byte)
            guard node < units.count else { return nil }
            unit = units[node]
            guard unit & (1 << 31 | 0xFF) == UInt32(byte) else { return nil }
            node ^= offset(unit)
            guard node < units.count else { return nil }
            if unit >> 8 & 1 == 1 {
                let start = Int(units[node] & 0x7FFF_FFFF)
                // A place within a character would make text that is not UTF-8.
                guard start < texts.count, texts[start] & 0xC0 != 0x80 else { return nil }
                var end = start
                while end < texts.count, texts[end] != 0 { end += 1 }
                return start..<end
            }
        }
        return nil
    }

    /// Writes the mapped text to `output`, which is empty.
    func apply(_ input: borrowing TextBuffer, to output: inout TextBuffer) {
        let text = input.bytes
        var offset = 0
        while offset < text.count, !output.isOverfull {
            // ASCII before ASCII is a cluster of its own.
            var end = offset
            while end < text.count, text[end] < 0x80, keepsASCII[Int(text[end])],
                end + 1 == text.count || text[end + 1] < 0x80
            {
                end += 1
            }
            output.append(input, offset..<end)
            offset = end
            guard offset < text.count else { return }
            // Up to where two characters of ASCII follow each other there may be longer clusters.
            end = offset + 1
            while end < text.count,
                text[end - 1] >= 0x80 || text[end] >= 0x80 || (text[end - 1] == 0x0D && text[end] == 0x0A)
            {
                end += 1
            }
            let stretch = String(decoding: UnsafeRawBufferPointer(rebasing: text[offset..<end]), as: UTF8.self)
            for cluster in stretch {
                if output.isOverfull { return }
                let range = offset..<offset + cluster.utf8.count
                applyCluster(range, input, to: &output)
                offset = range.upperBound
            }
            offset = end
        }
    }

    private func applyCluster(_ range: Range<Int>, _ input: borrowing TextBuffer, to output: inout TextBuffer) {
        if range.count < 6, replace(range, input, to: &output) { return }
        var offset = range.lowerBound
        while offset < range.upperBound {
            let (_, length) = input.bytes.utf8Scalar(at: offset)
            let part = offset..<offset + length
            if !replace(part, input, to: &output) { output.append(input, part) }
            offset += length
        }
    }

    private func replace(_ range: Range<Int>, _ input: borrowing TextBuffer, to output: inout TextBuffer) -> Bool {
        let key = UnsafeRawBufferPointer(rebasing: input.bytes[range])
        guard let found = Self.replacement(key, units: units, texts: texts) else { return false }
        let origin = input.origin(of: range)
        for byte in texts[found] { output.append(byte: byte, origin) }
        return true
    }
}
