package import ModelFiles

extension FuzzTarget {
    /// `tokenizer.json`: what is accepted encodes and decodes.
    static let tokenizerFile = FuzzTarget(
        "tokenizer-json", maximumByteCount: 4096,
        seeds: { SampleTokenizer.allCases.map { ($0.rawValue, Array($0.smallJSON.utf8)) } + [written] },
        mutate: JSONMutation.mutated, run: TokenizerChecks.readFile)

    /// What training writes.
    private static var written: (name: String, bytes: [UInt8]) {
        let tokenizer = try? CharacterTokenizer(texts: ["hello, world"])
        return ("written", tokenizer.flatMap { try? TokenizerFile.serialized($0) } ?? [])
    }

    /// BERT's `vocab.txt`.
    static let vocabulary = FuzzTarget(
        "vocabulary", maximumByteCount: 512,
        seeds: {
            [("small", Array("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nhel\n##lo\n##l\n,\na\n##a\n日\n".utf8))]
        },
        mutate: TextMutation.mutated,
        run: { bytes in
            let file = MappedFile(bytes: Array(bytes), path: "vocab.txt")
            guard let tokenizer = try? BERTVocabulary.tokenizer(file, configuration: nil) else { return }
            for text in TokenizerChecks.texts { TokenizerChecks.check(tokenizer, Array(text.utf8)) }
            TokenizerChecks.decodeAll(tokenizer)
        })

    /// Texts, and numbers taken for tokens, one target for each kind of tokenizer.
    static var tokenizers: [FuzzTarget] {
        SampleTokenizer.allCases.map { sample in
            encoding(sample.fuzzName, isLossless: sample == .llama3) {
                try? TokenizerFile.read(MappedFile(bytes: Array(sample.json.utf8), path: "tokenizer.json"))
            }
        } + [
            encoding("encode-byte-pairs", isLossless: true) {
                // GPT-2's alphabet and more, as a GGUF file or a training run has it.
                var trainer = try? BytePairTrainer(vocabularySize: 270)
                try? trainer?.add(TokenizerChecks.texts.joined(separator: " hello, world, hello."))
                return try? trainer?.train()
            },
            encoding("encode-characters", isLossless: true) {
                try? CharacterTokenizer(texts: TokenizerChecks.texts + ["abcdefghijklmnopqrstuvwxyz0123456789"])
            },
        ]
    }

    private static func encoding(
        _ name: String, isLossless: Bool, _ make: () -> (any TextTokenizer)?
    ) -> FuzzTarget {
        let tokenizer = make()
        return FuzzTarget(
            name, maximumByteCount: 64,
            seeds: { TokenizerChecks.texts.enumerated().map { ("text-\($0)", Array($1.utf8)) } },
            mutate: TextMutation.mutated,
            run: { bytes in
                guard let tokenizer else { return hold(false, "There is no tokenizer to try.") }
                TokenizerChecks.check(tokenizer, Array(bytes), isLossless: isLossless)
                let count = Int32(clamping: tokenizer.vocabularySize)
                TokenizerChecks.decode(tokenizer, bytes.prefix(8).map { Int32($0) % (count + 1) })
            })
    }
}

/// What holds of every tokenizer.
package enum TokenizerChecks {
    /// Texts that have a bit of everything.
    package static let texts = [
        "", "a", "Hello, [SEP] wörld! 12 日本 e\u{301}\u{323}\r\n\u{0} <s> ##a \u{1F469}\u{200D}\u{1F467}",
        "</s><unk>[CLS] hello<|end|> <word>  hel\n",
    ]

    /// Takes the bytes for a `tokenizer.json`, and lets what comes of it encode and decode.
    @Sendable package static func readFile(_ bytes: UnsafeRawBufferPointer) {
        let file = MappedFile(bytes: Array(bytes), path: "tokenizer.json")
        guard let tokenizer = try? TokenizerFile.read(file) else { return }
        for text in texts { check(tokenizer, Array(text.utf8)) }
        decodeAll(tokenizer)
    }

    /// Stops the program where encoding breaks what it promises.
    ///
    /// - Parameters:
    ///   - tokenizer: Any.
    ///   - text: Any bytes.
    ///   - isLossless: Whether a text comes back, where the vocabulary lacks none of it.
    package static func check(_ tokenizer: any TextTokenizer, _ text: [UInt8], isLossless: Bool = false) {
        for recognizing in [false, true] {
            guard let ids = try? tokenizer.encode(utf8: text, recognizingSpecialTokens: recognizing) else { continue }
            // This goes by another way, without the cache of pieces.
            let spans = try? tokenizer.spans(utf8: text, recognizingSpecialTokens: recognizing)
            FuzzTarget.hold(spans?.map(\.id) == ids, "The tokens are others where spans are asked for.")
            for span in spans ?? [] {
                FuzzTarget.hold(
                    span.range.lowerBound >= 0 && span.range.upperBound <= text.count,
                    "\(span.range) does not lie within the \(text.count) bytes of the text.")
            }
            FuzzTarget.hold(
                ids.allSatisfy { $0 >= 0 && $0 < tokenizer.vocabularySize }, "An ID is not in the vocabulary.")
            if !recognizing {
                FuzzTarget.hold(
                    ids.allSatisfy { $0 == tokenizer.unknownID || (try? tokenizer.isControl($0)) == false },
                    "Text has made a special token.")
            }
            let decoded = try? tokenizer.decodeBytes(isLossless ? ids[...] : ids.prefix(8))
            FuzzTarget.hold(decoded != nil, "What was encoded cannot be decoded.")
            if isLossless, tokenizer.unknownID.map({ !ids.contains($0) }) ?? true {
                FuzzTarget.hold(decoded == text, "What was encoded is decoded as another text.")
            }
        }
    }

    /// Decodes tokens at once and one by one, which has to come to the same.
    package static func decode(_ tokenizer: any TextTokenizer, _ ids: [Int32]) {
        let isSkipping = ids.count % 2 == 1
        let text = try? tokenizer.decode(ids, skippingSpecialTokens: isSkipping)
        var decoder = StreamingDecoder(tokenizer, skippingSpecialTokens: isSkipping)
        var parts = ""
        var hasFailed = false
        for id in ids where !hasFailed {
            if let part = try? decoder.append(id) { parts += part } else { hasFailed = true }
        }
        parts += decoder.finish()
        FuzzTarget.hold(hasFailed == (text == nil), "Decoding at once and one by one do not fail alike.")
        if let text { FuzzTarget.hold(text.utf8.elementsEqual(parts.utf8), "Decoded one by one, the text is another.") }
    }

    /// Decodes the first tokens of a vocabulary.
    package static func decodeAll(_ tokenizer: any TextTokenizer) {
        let count = Int32(clamping: Swift.min(tokenizer.vocabularySize, 300))
        for id in 0..<count {
            _ = try? tokenizer.tokenText(id)
            _ = try? tokenizer.bytes(of: id)
        }
        decode(tokenizer, (0..<count).filter { (try? tokenizer.isControl($0)) != nil })
    }
}
