import TestSupport
import Testing

@testable import ModelFiles

private func tokenizer(_ builder: GGUFBuilder = .sample()) throws -> ByteLevelBPETokenizer {
    try ByteLevelBPETokenizer(builder.file())
}

/// Returns why no tokenizer comes from a file, or `nil` when one does.
private func error(_ builder: GGUFBuilder) throws -> TokenizerError? {
    let file = try builder.file()
    do {
        _ = try ByteLevelBPETokenizer(file)
        return nil
    } catch {
        return error
    }
}

@Suite struct `Byte-level BPE` {
    @Test func `merges by rank`() throws {
        let tokenizer = try tokenizer()
        let texts = try tokenizer.encode("hello a 1hell").map { try tokenizer.tokenText($0) }
        #expect(texts == ["hello", "Ġa", "Ġ", "1", "hell"])
        #expect(try tokenizer.encode("") == [])
    }

    // The definition: merge the pair of lowest rank, the leftmost of several, until none is left.
    @Test(arguments: 0..<20)
    func `agrees with the definition`(seed: UInt64) throws {
        let tokenizer = try tokenizer()
        var generator = SeededGenerator(seed: seed)
        let letters = Array("helloé")
        for _ in 0..<20 {
            let text = String((0..<40).map { _ in letters.randomElement(using: &generator) ?? "h" })
            var tokens = ByteAlphabet.encode(text.utf8).map { String($0) }
            while true {
                let ranked = zip(tokens, tokens.dropFirst()).enumerated().compactMap { index, pair in
                    GGUFBuilder.merges.firstIndex(of: "\(pair.0) \(pair.1)").map { (rank: $0, index: index) }
                }
                guard let (_, index) = ranked.min(by: { $0 < $1 }) else { break }
                tokens[index] += tokens.remove(at: index + 1)
            }
            #expect(try tokenizer.encode(text).map { try tokenizer.tokenText($0) } == tokens)
        }
    }

    @Test func `canonically equivalent texts have different tokens`() throws {
        let tokenizer = try tokenizer()
        let (composed, decomposed) = ("\u{E9}", "e\u{301}")
        #expect(composed == decomposed)
        let tokens = try [composed, decomposed].map { try tokenizer.encode($0) }
        #expect(tokens[0] != tokens[1])
        #expect(try Array(tokenizer.decode(tokens[0]).utf8) == Array(composed.utf8))
        #expect(try Array(tokenizer.decode(tokens[1]).utf8) == Array(decomposed.utf8))
    }

    @Test func `control tokens are recognised only when asked for`() throws {
        let tokenizer = try tokenizer()
        #expect(try tokenizer.encode("a<|end|>a", recognizingSpecialTokens: true) == [7, 0, 7])
        #expect(try !tokenizer.encode("a<|start|>a").contains(1))
        #expect(tokenizer.specialTokenID("<|start|>") == 1)
        #expect(tokenizer.specialTokenID("hello") == nil)
        #expect(try tokenizer.isControl(1))
        #expect(try !tokenizer.isControl(7))
    }

    @Test func `user-defined tokens are recognised always`() throws {
        let tokenizer = try tokenizer()
        let word = try #require(tokenizer.specialTokenID("<word>"))
        #expect(try tokenizer.encode("a<word>a") == [7, word, 7])
    }

    @Test func `the longest special token is taken`() throws {
        let tokens = GGUFBuilder.tokens + ["<|end|>h"]
        let tokenizer = try tokenizer(.sample(tokens: tokens))
        #expect(
            try tokenizer.encode("<|end|>he", recognizingSpecialTokens: true) == [Int32(tokens.count - 1), 3])
    }

    @Test func `invalid UTF-8 is refused with its place`() throws {
        let tokenizer = try tokenizer()
        for (bytes, offset) in [
            ([0x61, 0x80], 1), ([0x61, 0xC3], 1), ([0xC0, 0x80], 0), ([0xE0, 0x80, 0x80], 0),
            ([0xED, 0xA0, 0x80], 0),
            ([0x61, 0x61, 0xF4, 0x90, 0x80, 0x80], 2), ([0xF5, 0x80, 0x80, 0x80], 0), ([0xFF], 0),
        ] as [([UInt8], Int)] {
            #expect(throws: TokenizerError.invalidUTF8(offset: offset)) { try tokenizer.encode(utf8: bytes) }
        }
    }

    @Test func `unknown bytes become one unknown token, or an error`() throws {
        #expect(try tokenizer().encode("aZZ") == [7, 0])
        #expect(throws: TokenizerError.byteWithoutToken(byte: 0x5A, offset: 1)) {
            try tokenizer(.sample(without: ["unknown"])).encode("aZ")
        }
    }

    @Test(arguments: [-1, 25, Int32.max, Int32.min])
    func `unknown IDs are refused`(id: Int32) throws {
        let tokenizer = try tokenizer()
        let expected = TokenizerError.tokenIDOutOfRange(id: Int(id), vocabularySize: 25)
        #expect(throws: expected) { try tokenizer.decode([id]) }
        #expect(throws: expected) { try tokenizer.bytes(of: id) }
        #expect(throws: expected) { try tokenizer.tokenText(id) }
    }

    @Test func `broken characters decode to one replacement each`() throws {
        let tokenizer = try tokenizer()
        #expect(try tokenizer.decode([8]) == "\u{FFFD}")
        #expect(try tokenizer.decode([8, 8, 9]) == "\u{FFFD}é")
        #expect(try tokenizer.decode([9, 7]) == "\u{FFFD}a")
        #expect(try tokenizer.decodeBytes([8, 9]) == [0xC3, 0xA9])
        #expect(try tokenizer.decode([0, 7, 24], skippingSpecialTokens: true) == "a<word>")
    }

    // A quadratic algorithm takes hours here.
    @Test(
        .timeLimit(.minutes(1)),
        arguments: ["l", " ", "\u{301}", "é", "aл", "1", "'", "\n", "a ", "<", "hello"])
    func `hostile texts take time in proportion to their length`(unit: String) throws {
        let text = String(repeating: unit, count: 60_000 / unit.utf8.count)
        #expect(try tokenizer().encode(text, recognizingSpecialTokens: true).count > 0)
    }

    // MARK: - Files

    @Test func `roles are read`() throws {
        let tokenizer = try tokenizer()
        #expect(tokenizer.beginningOfSequenceID == 1)
        #expect(tokenizer.endOfSequenceID == 0)
        #expect(tokenizer.unknownID == 0)
        #expect(tokenizer.paddingID == 0)
        #expect(!tokenizer.addsBeginningOfSequence)
        #expect(try ByteLevelBPETokenizer(GGUFBuilder.sample(without: ["unknown"]).file()).unknownID == nil)
    }

    // llama.cpp 14145: a vocabulary smaller than its special IDs.
    @Test func `special IDs beyond the vocabulary are refused`() throws {
        for id in [25, UInt32.max] {
            #expect(
                try error(.sample(padding: id))
                    == .specialTokenOutOfRange(
                        key: "tokenizer.ggml.padding_token_id", id: Int64(id), vocabularySize: 25))
        }
    }

    @Test func `other models and pre-tokenizers are refused by name`() throws {
        #expect(try error(.sample(tokenizer: "llama")) == .unsupportedModel("llama", supported: ["gpt2"]))
        #expect(
            try error(.sample(preTokenizer: "qwen2"))
                == .unsupportedPreTokenizer("qwen2", supported: ["smollm", "gpt-2", "default"]))
    }

    @Test func `a file without a tokenizer says which key is missing`() throws {
        guard case .file(let failure)? = try error(GGUFBuilder()) else {
            Issue.record("A tokenizer came from nothing.")
            return
        }
        #expect(failure.problem == .missingKey("tokenizer.ggml.model"))
        guard case .file(let failure)? = try error(.sample(without: ["merges"])) else {
            Issue.record("A tokenizer came without merges.")
            return
        }
        #expect(failure.problem == .missingKey("tokenizer.ggml.merges"))
    }

    @Test func `an empty vocabulary is refused`() throws {
        #expect(try error(.sample(tokens: [], types: [])) == .emptyVocabulary)
    }

    @Test func `duplicate tokens are refused`() throws {
        #expect(
            try error(.sample(tokens: GGUFBuilder.tokens + ["hello"]))
                == .duplicateToken(text: "hello", firstID: 20, secondID: 25))
    }

    @Test func `token types agree with the tokens`() throws {
        #expect(
            try error(.sample(types: [1, 1])) == .tokenTypeCountMismatch(types: 2, tokens: 25))
        #expect(
            try error(.sample(types: [7] + [Int32](repeating: 1, count: 24)))
                == .unknownTokenType(id: 0, type: 7))
        #expect(try error(.sample(without: ["types"])) == nil)
    }

    @Test(arguments: ["he", " he", "he ", "h e l", "", " ", "h  e", "h 日"])
    func `malformed merges are refused`(merge: String) throws {
        #expect(
            try error(.sample(merges: GGUFBuilder.merges + [merge]))
                == .malformedMerge(index: GGUFBuilder.merges.count, text: merge))
    }

    @Test(arguments: [("h o", "ho"), ("z e", "z"), ("h z", "z")])
    func `merges outside the vocabulary are refused`(merge: String, missing: String) throws {
        #expect(
            try error(.sample(merges: [merge]))
                == .mergeNotInVocabulary(index: 0, text: merge, missing: missing))
    }

    @Test func `tokens outside the alphabet stand for themselves`() throws {
        let tokenizer = try tokenizer(.sample(tokens: GGUFBuilder.tokens + ["日", ""]))
        #expect(try tokenizer.decode([25]) == "日")
        #expect(try tokenizer.tokenText(25) == "日")
        #expect(try tokenizer.bytes(of: 26) == [])
    }
}

@Suite struct `The byte alphabet` {
    @Test func `is GPT-2's`() {
        #expect(ByteAlphabet.encode([0, 0x0A, 0x20, 0x21, 0x7F, 0xA0, 0xAD, 0xFF]) == "ĀĊĠ!ġłŃÿ")
        #expect(Set(ByteAlphabet.scalars).count == 256)
    }

    @Test func `decodes what it encodes`() {
        let bytes = Array(0...UInt8.max)
        var decoded: [UInt8] = [1]
        let succeeded = Array(ByteAlphabet.encode(bytes).utf8).withUnsafeBytes {
            ByteAlphabet.decode($0, into: &decoded)
        }
        #expect(succeeded)
        #expect(decoded == [1] + bytes)
    }
}

@Suite struct `Pre-tokenizers` {
    private func pieces(_ text: String, _ preTokenizer: PreTokenizer) -> [String] {
        Array(text.utf8).withUnsafeBytes { bytes in
            var iterator = PieceIterator(bytes, preTokenizer.pattern)
            var pieces: [String] = []
            while let piece = iterator.next() { pieces.append(String(decoding: bytes[piece], as: UTF8.self)) }
            return pieces
        }
    }

    @Test func `GPT-2 cuts as its paper does`() {
        #expect(
            pieces("I've  seen it's\n\n 12 ½x!!", .gpt2)
                == ["I", "'ve", " ", " seen", " it", "'s", "\n\n", " 12", " ½", "x", "!!"])
        #expect(pieces("'S 'll", .gpt2) == ["'", "S", " '", "ll"])
        #expect(pieces("a \t b  ", .gpt2) == ["a", " \t", " b", "  "])
    }

    @Test func `SmolLM cuts numbers off first`() {
        #expect(
            pieces("a  12 ½Ⅳ\n\n3b", .smollm) == ["a", "  ", "1", "2", " ", "½", "Ⅳ", "\n\n", "3", "b"])
    }

    // Swift's own regular expressions are the reference.
    @Test(arguments: 0..<10)
    func `agree with GPT-2's regular expression`(seed: UInt64) throws {
        let pattern = try Regex(
            #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
        ).matchingSemantics(.unicodeScalar)
        let number = try Regex(#"\p{N}|\P{N}+"#).matchingSemantics(.unicodeScalar)
        let scalars = Array(
            "aZ'strevemlld  \t\n\u{A0}\u{3000}\u{85}\u{200B}19½Ⅳ٣é\u{301}日本лÅ𝒳👩\u{200D}!?_-\u{0}"
                .unicodeScalars)
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<30 {
            var view = String.UnicodeScalarView()
            for _ in 0..<30 { view.append(scalars.randomElement(using: &generator) ?? " ") }
            let text = String(view)
            #expect(pieces(text, .gpt2) == text.matches(of: pattern).map { String(text[$0.range]) })
            let stretches = text.matches(of: number).map { String(text[$0.range]) }
            let expected = stretches.flatMap { stretch in
                stretch.matches(of: pattern).map { String(stretch[$0.range]) }
            }
            #expect(pieces(text, .smollm) == expected)
        }
    }
}

@Suite struct `The streaming decoder` {
    /// A tokenizer whose every byte is a token, its ID the byte.
    private func byteTokenizer() throws -> ByteLevelBPETokenizer {
        let tokens = (0...UInt8.max).map { ByteAlphabet.encode([$0]) }
        return try tokenizer(.sample(tokens: tokens, merges: []))
    }

    @Test func `holds an emoji back until it is whole`() throws {
        var decoder = StreamingDecoder(try byteTokenizer())
        var parts: [String] = []
        for byte in "a👩é".utf8 { parts.append(try decoder.append(Int32(byte))) }
        #expect(parts == ["a", "", "", "", "👩", "", "é"])
        #expect(decoder.finish() == "")
    }

    @Test func `flushes what stays incomplete`() throws {
        var decoder = StreamingDecoder(try byteTokenizer())
        #expect(try decoder.append(0xF0) == "")
        #expect(try decoder.append(0x9F) == "")
        #expect(decoder.finish() == "\u{FFFD}")
        #expect(decoder.finish() == "")
    }

    @Test func `goes on after an unknown ID`() throws {
        var decoder = StreamingDecoder(try byteTokenizer())
        #expect(try decoder.append(0xC3) == "")
        #expect(throws: TokenizerError.self) { try decoder.append(256) }
        #expect(try decoder.append(0xA9) == "é")
    }

    @Test(arguments: 0..<20)
    func `gives what decoding at once gives`(seed: UInt64) throws {
        let tokenizer = try byteTokenizer()
        var generator = SeededGenerator(seed: seed)
        let likely: [UInt8] = [0x61, 0x80, 0x9F, 0xA0, 0xBF, 0xC3, 0xE0, 0xE2, 0xED, 0xF0, 0xF4, 0xFF]
        for _ in 0..<50 {
            let ids = (0..<12).map { _ in Int32(likely.randomElement(using: &generator) ?? 0x61) }
            var decoder = StreamingDecoder(tokenizer)
            var text = ""
            for id in ids { text += try decoder.append(id) }
            text += decoder.finish()
            #expect(Array(text.utf8) == Array(try tokenizer.decode(ids).utf8))
        }
    }
}
