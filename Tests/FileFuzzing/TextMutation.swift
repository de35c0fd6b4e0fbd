/// Changes texts so that they stay valid UTF-8.
package enum TextMutation {
    /// What tokenizers treat in a way of its own.
    private static let snippets = [
        "<s>", "</s>", "<unk>", "<mask>", "[CLS]", "[SEP]", "[UNK]", "[PAD]", "<|endoftext|>", "<|begin_of_text|>",
        "<|start|>", "<|end|>", "<word>", "##a", "##", "hello", "Hello", " hello", "▁", "▁he", "Ġ", "Ċ", "ĠĠ", " ",
        "  ",
        "\n", "\r\n", "\t", "\u{0}", "\u{A0}", "\u{2028}", "\u{3000}", "\u{FEFF}", "\u{FFFD}", "\u{200D}", "\u{AD}",
        "é",
        "e\u{301}", "\u{301}\u{323}", "\u{344}", "가", "\u{1100}\u{1161}\u{11A8}", "日本", "𠀀", "ﬁ", "İ", "ß", "ǅ",
        "\u{FDFA}", "\u{1F469}\u{200D}\u{1F467}", "\u{10FFFF}", "0", "12", "1234", "'s", "'LL", ".", "!?", "<0x0A>",
        "l", "o",
    ]

    package static func mutated(_ bytes: [UInt8], _ random: inout FuzzRandom) -> [UInt8]? {
        // What is no text becomes one.
        var scalars = Array(String(decoding: bytes, as: UTF8.self).unicodeScalars)
        for _ in 0...random.index(3) {
            let place = random.index(scalars.count + 1)
            switch random.index(6) {
            case 0...2: scalars.insert(contentsOf: Array(random.pick(snippets).unicodeScalars), at: place)
            case 3:
                let end = Swift.min(scalars.count, place + random.index(8))
                scalars.removeSubrange(place..<end)
            case 4:
                let end = Swift.min(scalars.count, place + random.index(12))
                let part = Array(scalars[place..<end])
                let to = random.index(scalars.count + 1)
                for _ in 0...random.index(4) { scalars.insert(contentsOf: part, at: to) }
            default:
                if let scalar = Unicode.Scalar(UInt32(random.next() % (random.oneIn(2) ? 0x3000 : 0x11_0000))) {
                    scalars.insert(scalar, at: place)
                }
            }
        }
        var text = String.UnicodeScalarView()
        text.append(contentsOf: scalars)
        return Array(String(text).utf8)
    }

    /// Returns one of the texts that tokenizers treat in a way of their own.
    package static func snippet(_ random: inout FuzzRandom) -> String { random.pick(snippets) }
}
