import TestSupport
import Testing

@testable import ModelFiles

private let text =
    "The cat sat on the mat; the cat's hat, that's flat. Ünïcödé naïve café, naïve café!\n\n  aaaaaaa banana bananas "
    + "1234 1234\n"

private func train(
    _ texts: [String], size: Int, minimumPairCount: Int = 2
) throws(BytePairTrainingError) -> ByteLevelBPETokenizer {
    var trainer = try BytePairTrainer(vocabularySize: size, minimumPairCount: minimumPairCount)
    for text in texts { try trainer.add(text) }
    return try trainer.train()
}

private func merges(_ tokenizer: ByteLevelBPETokenizer) throws -> [String] {
    try tokenizer.merges.inOrder.map { merge in
        "\(try tokenizer.tokenText(merge.left)) \(try tokenizer.tokenText(merge.right))"
    }
}

/// Texts of few letters, in which pairs overlap and are equally frequent.
private func randomText(seed: UInt64) -> String {
    var generator = SeededGenerator(seed: seed)
    let letters = Array("abc ".prefix(Int.random(in: 1...4, using: &generator))) + ["é"]
    return String(
        (0..<Int.random(in: 50...300, using: &generator)).map { _ in letters.randomElement(using: &generator) ?? "a" })
}

@Suite struct `Byte-pair training` {
    // from tokenizers import ByteLevelBPETokenizer   (0.23)
    // t = ByteLevelBPETokenizer(add_prefix_space=False)
    // t.train_from_iterator([text], vocab_size=290, min_frequency=2, special_tokens=["<|endoftext|>"])
    // json.loads(t._tokenizer.to_str())["model"]["merges"], t.encode("that …").tokens
    @Test func `finds the merges that the package tokenizers finds`() throws {
        let tokenizer = try train([text], size: 285)
        let expected = [
            "a t", "a a", "n a", "Ġ c", "h e", "Ã ©", "Ã ¯", "Ġ t", "' s", "1 2", "3 4", "a f", "a na", "b ana", "h at",
            "v e", "Ġ na", "Ġ 12", "Ġ bana", "aa aa", "Ġc at", "Ġc af", "Ã¯ ve", "Ġt he", "Ġna Ã¯ve", "Ġ12 34",
            "Ġbana na", "Ġcaf Ã©",
        ]
        #expect(try merges(tokenizer) == expected)
        let tokens = try tokenizer.encode("that cat’s banana café 12\n\n\n  x").map { try tokenizer.tokenText($0) }
        #expect(
            tokens == [
                "t", "hat", "Ġcat", "â", "Ģ", "Ļ", "s", "Ġbanana", "ĠcafÃ©", "Ġ12", "Ċ", "Ċ", "Ċ", "Ġ", "Ġ", "x",
            ])
    }

    @Test func `lays the vocabulary out as GPT-2's`() throws {
        let tokenizer = try train([text], size: 270)
        #expect(tokenizer.vocabularySize == 270)
        #expect(try tokenizer.tokenText(0) == "!")
        #expect(try tokenizer.tokenText(220) == "Ġ")
        #expect(try tokenizer.tokenText(256) == "at")
        #expect(tokenizer.endOfSequenceID == 269)
        #expect(try tokenizer.tokenText(269) == "<|endoftext|>")
        #expect(try tokenizer.isControl(269))
        #expect(Set(try (0..<256).map { try tokenizer.bytes(of: $0) }).count == 256)
        // Text cannot end the text.
        #expect(try !tokenizer.encode("a<|endoftext|>").contains(269))
    }

    // The definition: count all pairs anew for every merge.
    @Test(arguments: 0..<30)
    func `agrees with the definition`(seed: UInt64) throws {
        let text = randomText(seed: seed)
        let minimumCount = Int(seed % 3) + 1
        var words: [[[UInt8]]] = []
        Array(text.utf8).withUnsafeBytes { bytes in
            var pieces = PieceIterator(bytes, .gpt2)
            while let piece = pieces.next() { words.append(bytes[piece].map { [$0] }) }
        }
        let order = Dictionary(
            uniqueKeysWithValues: (0...UInt8.max).sorted {
                ByteAlphabet.scalars[Int($0)] < ByteAlphabet.scalars[Int($1)]
            }
            .enumerated().map { ([$1], $0) })
        var ids: [[UInt8]: Int] = order
        var expected: [String] = []
        while true {
            var counts: [[Int]: Int] = [:]
            for word in words {
                for (left, right) in zip(word, word.dropFirst()) {
                    counts[[try #require(ids[left]), try #require(ids[right])], default: 0] += 1
                }
            }
            let best = counts.min {
                $0.value != $1.value ? $0.value > $1.value : $0.key.lexicographicallyPrecedes($1.key)
            }
            guard let best, best.value >= minimumCount else { break }
            let names = Dictionary(uniqueKeysWithValues: ids.map { ($1, $0) })
            let (left, right) = (try #require(names[best.key[0]]), try #require(names[best.key[1]]))
            expected.append("\(ByteAlphabet.encode(left)) \(ByteAlphabet.encode(right))")
            #expect(ids[left + right] == nil)
            ids[left + right] = ids.count
            for word in words.indices {
                var place = 0
                while place + 1 < words[word].count {
                    if words[word][place] == left, words[word][place + 1] == right {
                        words[word][place] += words[word].remove(at: place + 1)
                    }
                    place += 1
                }
            }
        }
        let size = 257 + expected.count
        let tokenizer = try train([text], size: size, minimumPairCount: minimumCount)
        #expect(try merges(tokenizer) == expected)
        // Encoding makes of the words what training has made of them.
        let tokens = try tokenizer.encode(text).map { try tokenizer.bytes(of: $0) }
        #expect(tokens == Array(words.joined()))
        #expect(
            throws: BytePairTrainingError.vocabularyTooLarge(
                requested: size + 1, supported: size, minimumPairCount: minimumCount)
        ) { try train([text], size: size + 1, minimumPairCount: minimumCount) }
    }

    @Test func `does not depend on how the text is given`() throws {
        let whole = try train(["one two two", " three two"], size: 260)
        var trainer = try BytePairTrainer(vocabularySize: 260)
        try Array("one two two".utf8).withUnsafeBytes { try trainer.add(utf8: $0) }
        try trainer.add(" three two")
        #expect(try trainer.train().fingerprint == whole.fingerprint)
        #expect(try train([" three two", "one two two"], size: 260).fingerprint == whole.fingerprint)
        #expect(try train(["one two two", " three twO"], size: 260).fingerprint != whole.fingerprint)
    }

    @Test func `texts come back exactly, whatever they are`() throws {
        let tokenizer = try train([text], size: 285)
        for text in [text, "", "\u{0}", "e\u{301} \u{E9}", "日本語 🇨🇭\u{FFFD}\r\n", "<|endoftext|>"] {
            #expect(try Array(tokenizer.decode(tokenizer.encode(text)).utf8) == Array(text.utf8))
        }
    }

    @Test func `one long word takes no longer than many short ones`() throws {
        // Looking through the whole word for each merge would take minutes.
        var generator = SeededGenerator(seed: 3)
        let word = String((0..<100_000).map { _ in "abcdefgh".randomElement(using: &generator) ?? "a" })
        #expect(try train([word], size: 1_000).vocabularySize == 1_000)
        let run = String(repeating: "a", count: 100_000)
        #expect(throws: BytePairTrainingError.self) { try train([run], size: 1_000) }
    }

    @Test func `what cannot be learned is refused`() throws {
        #expect(throws: BytePairTrainingError.vocabularyTooSmall(requested: 256, minimum: 257)) {
            try train([text], size: 256)
        }
        #expect(throws: BytePairTrainingError.emptyCorpus) { try train([], size: 300) }
        #expect(throws: BytePairTrainingError.emptyCorpus) { try train([""], size: 300) }
        #expect(
            throws: BytePairTrainingError.vocabularyTooLarge(requested: 300, supported: 257, minimumPairCount: 2)
        ) { try train(["abc"], size: 300) }
        #expect(throws: BytePairTrainingError.invalidUTF8(offset: 1)) {
            var trainer = try BytePairTrainer(vocabularySize: 300)
            try ([0x61, 0xFF] as [UInt8]).withUnsafeBytes { try trainer.add(utf8: $0) }
        }
        #expect(try train(["abc"], size: 257).vocabularySize == 257)
    }
}
