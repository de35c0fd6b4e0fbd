/// BERT's normalisation: control characters out, spaces around ideographs, accents off, lower case.
///
/// As the Python package `tokenizers` does it, its old tables of marks and control characters included
/// (``UnicodeTables``).
struct BERTNormalizer: Sendable {
    private let cleansText: Bool
    private let separatesIdeographs: Bool
    private let stripsAccents: Bool
    private let lowercases: Bool
    /// What each byte of ASCII becomes, 0xFF for nothing.
    private let ascii: [UInt8]

    /// Creates a normalizer.
    ///
    /// - Parameters:
    ///   - cleansText: Whether control characters are removed, and whitespace becomes spaces.
    ///   - separatesIdeographs: Whether Chinese characters get spaces around them.
    ///   - stripsAccents: Whether nonspacing marks are removed after canonical decomposition; `nil` where text becomes
    ///     lower-case.
    ///   - lowercases: Whether text becomes lower-case.
    init(cleansText: Bool, separatesIdeographs: Bool, stripsAccents: Bool?, lowercases: Bool) {
        self.cleansText = cleansText
        self.separatesIdeographs = separatesIdeographs
        self.stripsAccents = stripsAccents ?? lowercases
        self.lowercases = lowercases
        ascii = (0..<128).map { (byte: UInt8) in
            if cleansText {
                let classes = CharacterClasses.of(UInt32(byte))
                if classes.contains(.control) { return 0xFF }
                if classes.contains(.whitespace) { return 0x20 }
            }
            return lowercases && 0x41...0x5A ~= byte ? byte | 0x20 : byte
        }
    }

    /// Writes the normalised text to `output`, which is empty.
    func apply(_ input: borrowing TextBuffer, to output: inout TextBuffer) {
        let text = input.bytes
        let data = UnicodeNormalization.shared
        // Decomposed characters whose order may still change: all but the first have a combining class.
        var items: [UnicodeNormalization.Item] = []
        var parts: [UnicodeNormalization.Item] = []
        var offset = 0
        while offset < text.count {
            if text[offset] < 0x80 {
                flush(&items, data, to: &output)
                offset = output.appendASCII(input, from: offset, table: ascii)
                continue
            }
            let (scalar, length) = text.utf8Scalar(at: offset)
            let origin = input.origin(of: offset..<offset + length)
            offset += length
            let classes = CharacterClasses.of(scalar)
            if cleansText {
                if classes.contains(.control) { continue }
                if classes.contains(.whitespace) {
                    flush(&items, data, to: &output)
                    output.append(byte: 0x20, origin)
                    continue
                }
            }
            let isSeparated = separatesIdeographs && classes.contains(.ideograph)
            if isSeparated {
                flush(&items, data, to: &output)
                output.append(byte: 0x20, origin)
            }
            if stripsAccents, !data.isInert(scalar) {
                data.decompose(scalar, compatibility: false, origin, into: &parts)
                // A starter settles what is before it.
                if parts[0].combiningClass == 0 { flush(&items, data, to: &output) }
                items += parts
                parts.removeAll(keepingCapacity: true)
            } else if stripsAccents {
                flush(&items, data, to: &output)
                if !classes.contains(.nonspacingMark) { append(scalar, origin, to: &output) }
            } else {
                append(scalar, origin, to: &output)
            }
            if isSeparated {
                flush(&items, data, to: &output)
                output.append(byte: 0x20, origin)
            }
        }
        flush(&items, data, to: &output)
    }

    private func flush(
        _ items: inout [UnicodeNormalization.Item], _ data: UnicodeNormalization, to output: inout TextBuffer
    ) {
        guard !items.isEmpty else { return }
        if items.count > 1 { data.order(&items) }
        for item in items where !CharacterClasses.of(item.scalar).contains(.nonspacingMark) {
            append(item.scalar, item.origin, to: &output)
        }
        items.removeAll(keepingCapacity: true)
    }

    private func append(_ scalar: UInt32, _ origin: TextBuffer.Origin, to output: inout TextBuffer) {
        let lower = lowercases ? LowerCase.table[scalar] : 0
        if lower == 0 {
            output.append(scalar, origin)
        } else {
            output.append(lower & 0x1F_FFFF, origin)
            if lower >> 21 > 0 { output.append(lower >> 21, origin) }
        }
    }
}
