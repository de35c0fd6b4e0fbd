import FileFuzzing
import TestSupport
import Testing

@testable import ModelFiles

private func read(_ json: String) throws(TokenizerFileError) -> PipelineTokenizer {
    let tokenizer = try TokenizerFile.read(MappedFile(bytes: Array(json.utf8), path: "tokenizer.json"))
    guard let pipeline = tokenizer as? PipelineTokenizer else {
        throw TokenizerFileError(path: "tokenizer.json", problem: .malformed(field: "the file", wanted: "a pipeline"))
    }
    return pipeline
}

private func read(_ sample: SampleTokenizer) throws -> PipelineTokenizer { try read(sample.json) }

/// Returns what is wrong with a sample where a text in it is replaced by another.
private func problem(
    _ sample: SampleTokenizer, replacing text: String, with other: String
) throws -> TokenizerFileError.Problem? {
    try #require(sample.json.contains(text), "\(text)")
    let json = sample.json.replacing(text, with: other)
    do {
        _ = try read(json)
        return nil
    } catch {
        return error.problem
    }
}

@Suite struct `Word pieces` {
    @Test func `are the longest that fit, or the unknown token`() throws {
        let tokenizer = try read(.wordPiece)
        #expect(try tokenizer.encode("Hello, WORLDS!") == [4, 8, 9, 11, 17])
        #expect(try tokenizer.encode("hellhelll") == [1])
        #expect(try tokenizer.encode("hells") == [5, 7, 11])
        #expect(try tokenizer.encode("") == [])
        #expect(try tokenizer.encode(" \t\u{0}\u{AD}") == [])
        // One hundred characters are a word, one more are not.
        #expect(try tokenizer.encode(String(repeating: "a", count: 100)) == [12] + Array(repeating: 13, count: 99))
        #expect(try tokenizer.encode(String(repeating: "a", count: 101)) == [1])
    }

    @Test func `know BERT's normalisation`() throws {
        let tokenizer = try read(.wordPiece)
        #expect(try tokenizer.encode("HÉLLO he\u{301}llo") == [4, 4])
        #expect(try tokenizer.encode("日日a") == [10, 10, 12])
        #expect(try tokenizer.encode("hel\u{200B}lo\u{7}") == [4])
        // Of marks that change places none is lost or kept by that.
        #expect(try tokenizer.encode("a\u{301}\u{323}a\u{323}\u{301}") == [12, 13])
    }

    @Test func `say which bytes they come from`() throws {
        let spans = try read(.wordPiece).spans(of: " HÉLLO,\u{0} 日worlds")
        #expect(spans.map(\.id) == [4, 8, 10, 9, 11])
        #expect(spans.map(\.range) == [1..<7, 7..<8, 10..<13, 13..<18, 18..<19])
    }

    @Test func `cannot be made special by a text`() throws {
        let tokenizer = try read(.wordPiece)
        #expect(try tokenizer.encode("[SEP]") == [14, 16, 15])
        #expect(try tokenizer.encode("a [SEP] a", recognizingSpecialTokens: true) == [12, 3, 12])
        #expect(try tokenizer.encode("a", addingSpecialTokens: true) == [2, 12, 3])
        #expect(tokenizer.template == TokenTemplate(prefix: [2], suffix: [3]))
        #expect(tokenizer.tokenID("[SEP]") == 3)
        #expect(tokenizer.tokenID("[sep]") == nil)
        #expect(try tokenizer.isControl(3))
        #expect(try !tokenizer.isControl(4))
        #expect(tokenizer.beginningOfSequenceID == 2)
        #expect(tokenizer.endOfSequenceID == 3)
        #expect(tokenizer.unknownID == 1)
        #expect(tokenizer.paddingID == 0)
    }

    // all-MiniLM-L6-v2's file says 128 twice, and its vectors are those of 256 tokens without padding.
    @Test func `are neither cut off nor filled up as the file asks`() throws {
        let tokenizer = try read(.wordPiece)
        #expect(tokenizer.truncation?.maximumTokenCount == 128)
        #expect(tokenizer.padding == PipelineTokenizer.Padding(fixedTokenCount: 128, id: 0))
        #expect(try tokenizer.encode(String(repeating: "a ", count: 300)).count == 300)
        #expect(try tokenizer.encode("a").count == 1)
    }

    @Test func `become text again`() throws {
        let tokenizer = try read(.wordPiece)
        #expect(try tokenizer.decode([2, 5, 7, 11, 8, 9, 3]) == "[CLS] hells, world [SEP]")
        #expect(try tokenizer.decode([2, 5, 7, 11, 8, 9, 3], skippingSpecialTokens: true) == "hells, world")
        #expect(try tokenizer.tokenText(7) == "##l")
        #expect(try tokenizer.bytes(of: 7) == Array("##l".utf8))
        for id: Int32 in [-1, 19, .max] {
            #expect(throws: TokenizerError.tokenIDOutOfRange(id: Int(id), vocabularySize: 19)) {
                try tokenizer.decode([id])
            }
        }
    }

    @Test func `are read from vocab.txt`() throws {
        try withTemporaryFolder { folder in
            let lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "hello", "##s", "Hello", "É"]
            try AtomicFile.write(Array(lines.joined(separator: "\r\n").utf8) + [10], to: "\(folder)/vocab.txt")
            let lower = try TokenizerFile.read("\(folder)/vocab.txt")
            #expect(try lower.encode("Hellos É [SEP]", addingSpecialTokens: true) == [2, 4, 5, 1, 1, 1, 1, 3])
            #expect(lower.vocabularySize == 8)
            #expect(lower.unknownID == 1)
            let configuration = #"{"do_lower_case":false,"pad_token":{"content":"[PAD]"},"sep_token":"[SEP]"}"#
            try AtomicFile.write(Array(configuration.utf8), to: "\(folder)/tokenizer_config.json")
            let cased = try TokenizerFile.read(folder)
            #expect(try cased.encode("Hellos É") == [6, 5, 7])
            #expect(cased.endOfSequenceID == 3)
            // A tokenizer.json goes before.
            try AtomicFile.write(Array(SampleTokenizer.unigram.json.utf8), to: "\(folder)/tokenizer.json")
            #expect(try TokenizerFile.read(folder).encode("o") == [2, 6])
            for text in ["", "a\nb", "[UNK]\n[CLS]\n", "[UNK]\n[SEP]\n[CLS]\n\u{FF}"] {
                let bytes = text.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) }
                try AtomicFile.write(bytes, to: "\(folder)/vocab.txt")
                #expect(throws: TokenizerFileError.self) { try TokenizerFile.read("\(folder)/vocab.txt") }
            }
        }
    }
}

@Suite struct `Pipelines` {
    @Test func `of bytes merge as the file says`() throws {
        let tokenizer = try read(.byteLevel)
        // Without a space in front there is one, and é is a character however it is written.
        #expect(try tokenizer.encode("hell  hello") == [260, 33, 260, 112])
        #expect(try tokenizer.encode("e\u{301}") == tokenizer.encode("é"))
        #expect(try tokenizer.decode(tokenizer.encode("日本 é")) == " 日本 é")
        #expect(tokenizer.endOfSequenceID == 0)
        #expect(try tokenizer.encode("h", addingSpecialTokens: true) == [0, 33, 105, 0])
    }

    @Test func `of Llama 3 leave whole tokens unmerged`() throws {
        let tokenizer = try read(.llama3)
        #expect(try tokenizer.encode("hello") == [259])
        #expect(try tokenizer.encode("hellos") == [257, 258, 112, 116])
        #expect(tokenizer.template.prefix == [0])
        #expect(tokenizer.addsBeginningOfSequence)
    }

    @Test func `find added tokens by their flags`() throws {
        let tokenizer = try read(.byteLevel)
        func ids(_ text: String) throws -> [Int32] {
            try tokenizer.encode(text, recognizingSpecialTokens: true)
        }
        #expect(try ids("h \u{3000}<mask>\n h") == [33, 105, 262, 33, 105])
        #expect(try ids("wor") == [263])
        #expect(try ids("wor,") == [263, 33, 45])
        #expect(try !ids("word wor1 _wor").contains(263))
        // It is plain text's token too, and no one's voice.
        #expect(try tokenizer.encode("wor") == [263])
        #expect(try !tokenizer.encode("<mask>").contains(262))
        let spans = try tokenizer.spans(of: "h <mask> h", recognizingSpecialTokens: true)
        #expect(spans.map(\.range) == [0..<1, 0..<1, 1..<9, 9..<10, 9..<10])
    }

    @Test func `of characters fall back to bytes`() throws {
        let tokenizer = try read(.characters)
        #expect(try tokenizer.encode("hello") == [264, 265, 262])
        #expect(try tokenizer.encode("é") == [258, 2 + 0xC3, 2 + 0xA9])
        #expect(try tokenizer.decode(tokenizer.encode("hello é")) == "hello é")
        #expect(try tokenizer.decode([1] + tokenizer.encode("hello"), skippingSpecialTokens: true) == "hello")
    }

    @Test func `of unigrams take the likeliest way`() throws {
        let tokenizer = try read(.unigram)
        #expect(try tokenizer.encode("hello") == [3, 5, 6])
        // Unknown characters in a row are one token, ½ becomes three characters, and spaces become one.
        #expect(try tokenizer.encode("日本  ½ ") == [2, 0, 2, 10, 0])
        #expect(try tokenizer.decode([3, 5, 6, 3]) == "hello he")
    }

    @Test func `of words take what they know`() throws {
        let tokenizer = try read(.words)
        #expect(try tokenizer.encode("Héllo,, world12,") == [1, 0, 3, 4, 2])
        #expect(try tokenizer.decode([1, 3]) == "hello world")
    }

    @Test(arguments: SampleTokenizer.allCases)
    func `stream what they decode at once`(sample: SampleTokenizer) throws {
        let tokenizer = try read(sample)
        for skipping in [false, true] {
            let all = (0..<Int32(tokenizer.vocabularySize)).map { $0 }
            let encoded = try tokenizer.encode("Hello, world é 日本", addingSpecialTokens: true)
            for ids in [all, all.reversed(), [], encoded] {
                var decoder = StreamingDecoder(tokenizer, skippingSpecialTokens: skipping)
                for _ in 0..<2 {
                    var text = ""
                    for id in ids { text += try decoder.append(id) }
                    text += decoder.finish()
                    let whole = try tokenizer.decode(ids, skippingSpecialTokens: skipping)
                    #expect(Array(text.utf8) == Array(whole.utf8))
                }
            }
        }
    }

    @Test(arguments: SampleTokenizer.allCases)
    func `give the same tokens with and without spans and cache`(sample: SampleTokenizer) throws {
        let tokenizer = try read(sample)
        var generator = SeededGenerator(seed: 3)
        let parts = [
            "hello", " ", "é", "e\u{301}", "日", "\n", "1", "<mask>", "[SEP]", "\u{0}", ",", "𝒳", "<s>", "\u{323}",
        ]
        for _ in 0..<300 {
            let text = (0..<Int.random(in: 0..<9, using: &generator)).map { _ in
                parts.randomElement(using: &generator) ?? ""
            }.joined()
            TokenizerChecks.check(tokenizer, Array(text.utf8))
            for recognizing in [false, true] {
                let ids = try tokenizer.encode(text, recognizingSpecialTokens: recognizing)
                #expect(try tokenizer.spans(of: text, recognizingSpecialTokens: recognizing).map(\.id) == ids)
                #expect(try read(sample).encode(text, recognizingSpecialTokens: recognizing) == ids)
            }
        }
    }

    @Test(arguments: SampleTokenizer.allCases)
    func `are written as they were read`(sample: SampleTokenizer) throws {
        let tokenizer = try read(sample)
        let again = try TokenizerFile.read(MappedFile(bytes: try TokenizerFile.serialized(tokenizer)))
        #expect(again.fingerprint == tokenizer.fingerprint)
        #expect(try again.encode("hello, world") == tokenizer.encode("hello, world"))
    }

    @Test func `differ in their fingerprints`() throws {
        let fingerprints = try SampleTokenizer.allCases.map { try read($0).fingerprint }
        #expect(Set(fingerprints).count == fingerprints.count)
    }

    @Test func `encode on many threads at once`() async throws {
        let tokenizer = try read(.wordPiece)
        let text = String(repeating: "Hello, worlds 日! ", count: 50)
        let wanted = try tokenizer.encode(text)
        try await withThrowingTaskGroup(of: [Int32].self) { group in
            for _ in 0..<50 { group.addTask { try tokenizer.encode(text) } }
            for try await ids in group { #expect(ids == wanted) }
        }
    }

    @Test func `refuse texts that are not UTF-8 or grow beyond measure`() throws {
        for sample in SampleTokenizer.allCases {
            #expect(throws: TokenizerError.invalidUTF8(offset: 1)) { try read(sample).encode(utf8: [0x61, 0xC3]) }
        }
        // Each step makes a thousand of one.
        let content = String(repeating: "▁", count: 1000)
        let step = #"{"type":"Replace","pattern":{"String":"▁"},"content":"\#(content)"}"#
        let growing = Array(repeating: step, count: 4)
        let json = SampleTokenizer.characters.json.replacing(
            #"{"type":"Prepend","prepend":"▁"}"#,
            with: #"{"type":"Prepend","prepend":"▁"},"# + growing.joined(separator: ","))
        #expect(throws: TokenizerError.normalizedTextTooLong(limit: TextBuffer.maximumCount)) {
            try read(json).encode("a")
        }
    }
}

@Suite struct `Pipeline files` {
    @Test func `that ask for what is not implemented are refused by name`() throws {
        for (sample, text, other, field) in [
            (SampleTokenizer.wordPiece, #""type":"BertNormalizer""#, #""type":"Gone""#, "normalizer.type"),
            (.wordPiece, #""type":"BertPreTokenizer""#, #""type":"UnicodeScripts""#, "pre_tokenizer.type"),
            (.wordPiece, #""type":"WordPiece","prefix""#, #""type":"CTC","prefix""#, "decoder.type"),
            (.wordPiece, #""type":"WordPiece","unk"#, #""type":"Gone","unk"#, "model.type"),
            (.wordPiece, #""type":"TemplateProcessing""#, #""type":"Gone""#, "post_processor.type"),
            (.wordPiece, #""lowercase":true"#, #""lowercase":true,"new":1"#, "normalizer.new"),
            (.wordPiece, #""max_input"#, #""new":true,"max_input"#, "model.new"),
            (.wordPiece, #""version":"1.0""#, #""version":"1.0","new":{}"#, "the file.new"),
            (.byteLevel, #""special":true}"#, #""special":true,"new":1}"#, "added_tokens[0].new"),
            (.byteLevel, #""dropout":null"#, #""dropout":0.1"#, "model.dropout"),
            (.byteLevel, #""end_of_word_suffix":null"#, #""end_of_word_suffix":"</w>""#, "model.end_of_word_suffix"),
            (.byteLevel, #""type":"BPE""#, #""type":"WordLevel""#, "model.type"),
            (.llama3, #"{1,3}"#, #"{1,4}"#, "pre_tokenizer.pretokenizers[0].pattern"),
            (.llama3, #""behavior":"Isolated""#, #""behavior":"Gone""#, "pre_tokenizer.pretokenizers[0].behavior"),
            (.characters, #"{"type":"Fuse"}"#, #"{"type":"Fuse"},{"type":"ByteFallback"}"#, "decoder.decoders[3].type"),
            (.characters, #""id":"A""#, #""id":"B""#, "post_processor.single[1]"),
            (
                .unigram, #""prepend_scheme":"always","split""#, #""prepend_scheme":"Gone","split""#,
                "pre_tokenizer.prepend_scheme"
            ),
            (
                .words, #"{"type":"Whitespace"}"#, #"{"type":"ByteLevel"},{"type":"Whitespace"}"#,
                "pre_tokenizer.pretokenizers[1]"
            ),
        ] {
            guard case .unsupported(let found, _)? = try problem(sample, replacing: text, with: other) else {
                Issue.record("\(field): \(String(describing: try problem(sample, replacing: text, with: other)))")
                continue
            }
            #expect(found == field)
            let path = TokenizerFileError(path: "x.json", problem: .unsupported(field: found, value: "y"))
            #expect(path.description.contains(found))
        }
    }

    @Test func `that lie are refused`() throws {
        for (sample, text, other) in [
            (SampleTokenizer.wordPiece, #""hello":4"#, #""hello":5"#), (.wordPiece, #""hello":4"#, #""hello":-4"#),
            (.wordPiece, #""hello":4"#, #""hello":4294967300"#), (.wordPiece, #""hello":4"#, #""hello":4.5"#),
            (.wordPiece, #""hello":4"#, #""hello":9223372036854775807"#), (.wordPiece, #""hello":4"#, #""hel":4"#),
            (.wordPiece, #""unk_token":"[UNK]""#, #""unk_token":"[unk]""#), (.wordPiece, #""ids":[2]"#, #""ids":[99]"#),
            (.wordPiece, #""ids":[2]"#, #""ids":[-1]"#), (.wordPiece, #""ids":[2]"#, #""ids":2"#),
            (.wordPiece, #"{"id":2,"#, #"{"id":4,"#), (.wordPiece, #"{"id":2,"#, #"{"id":3,"#),
            (.wordPiece, #"{"id":2,"#, #"{"id":99999999999,"#), (.wordPiece, #""pad_id":0"#, #""pad_id":77"#),
            (.wordPiece, #""content":"[PAD]""#, #""content":"""#),
            (.wordPiece, #""content":"[PAD]""#, #""content":"[UNK]""#),
            (.wordPiece, #"{"Sequence":{"id":"A","type_id":0}},"#, ""),
            (.wordPiece, #""max_length":128"#, #""max_length":-1"#),
            (.wordPiece, #""max_input_chars_per_word":100"#, #""max_input_chars_per_word":1e30"#),
            (.byteLevel, #"["h","e"]"#, #"["h","q"]"#), (.byteLevel, #"["h","e"]"#, #"["h","e","e"]"#),
            (.byteLevel, #"["h","e"]"#, #"["h",1]"#), (.byteLevel, #"["h","e"]"#, "7"), (.llama3, #""h e""#, #""he""#),
            (.byteLevel, #""merges":["#, #""merges":7,"x":["#), (.unigram, #""unk_id":0"#, #""unk_id":11"#),
            (.unigram, #"["▁",-3]"#, #"["▁"]"#), (.unigram, #"["▁",-3]"#, #"["▁","-3"]"#),
            (.unigram, #""vocab":["#, #""vocab":{},"x":["#),
            (
                .unigram, #""replacement":"▁","prepend_scheme":"always","split""#,
                #""replacement":"","prepend_scheme":"always","split""#
            ),
        ] {
            #expect(try problem(sample, replacing: text, with: other) != nil, "\(other)")
        }
        let deep = String(repeating: #"{"type":"Sequence","normalizers":["#, count: 100)
        #expect(throws: TokenizerFileError.self) { try read(#"{"normalizer":"# + deep) }
    }

    @Test func `may leave out few IDs and name no type`() throws {
        let sample = SampleTokenizer.words.json
        let gap = try read(sample.replacing(#""12":4"#, with: #""12":40"#))
        #expect(gap.vocabularySize == 41)
        #expect(try gap.encode("12") == [40])
        #expect(throws: TokenizerError.tokenIDOutOfRange(id: 7, vocabularySize: 41)) { try gap.tokenText(7) }
        #expect(throws: TokenizerFileError.self) { try read(sample.replacing(#""12":4"#, with: #""12":400000"#)) }
        for sample in SampleTokenizer.allCases {
            var json = sample.json
            for type in ["WordPiece", "BPE", "Unigram", "WordLevel"] {
                json = json.replacing(#""model":{"type":"\#(type)","#, with: #""model":{"#)
            }
            #expect(try read(json).encode("hello 12") == read(sample).encode("hello 12"))
        }
    }

    @Test func `that are cut off anywhere are an error`() throws {
        for sample in SampleTokenizer.allCases {
            let whole = Array(sample.json.utf8)
            for count in stride(from: 0, to: whole.count - 1, by: 17) {
                #expect(throws: TokenizerFileError.self) {
                    try TokenizerFile.read(MappedFile(bytes: Array(whole[..<count])))
                }
            }
        }
    }

    @Test(arguments: SampleTokenizer.allCases)
    func `that are damaged in five hundred ways are refused or can be used`(sample: SampleTokenizer) {
        var generator = SeededGenerator(seed: 11)
        let whole = Array(sample.json.utf8)
        for _ in 0..<500 {
            generator.mutation(of: whole, in: 0..<whole.count).withUnsafeBytes(TokenizerChecks.readFile)
        }
    }

    @Test func `with a hostile map of characters are refused or harmless`() throws {
        var generator = SeededGenerator(seed: 12)
        for length in [0, 3, 4, 8, 40, 400] {
            for _ in 0..<40 {
                var bytes = (0..<length).map { _ in UInt8.random(in: 0...127, using: &generator) }
                if length >= 8 { bytes.replaceSubrange(0..<4, with: [UInt8(length / 8 * 4 & 0x7F), 0, 0, 0]) }
                guard let map = PrecompiledCharacterMap(bytes) else { continue }
                var input = TextBuffer()
                Array("aé日\r\n\u{600}x\u{301}".utf8).withUnsafeBytes { text in
                    input.append(text) { _ in TextBuffer.Origin(start: 0, end: 0) }
                }
                var output = TextBuffer()
                map.apply(input, to: &output)
                #expect(output.bytes.offsetOfInvalidUTF8 == nil)
            }
        }
        #expect(Base64.decode("aGVsbG8=".utf8) == Array("hello".utf8))
        for text in ["a", "a=bc", "aGVsbG8", "a*bc", "===="] { #expect(Base64.decode(text.utf8) == nil) }
    }
}

@Suite struct `Hostile texts` {
    static let texts: [(name: String, unit: String)] = [
        ("one letter", "a"), ("spaces", " "), ("line breaks and spaces", "\n  "), ("marks", "\u{301}\u{323}"),
        ("ideographs", "日"), ("marks of spaces", "▁"), ("brackets", "[["), ("beginnings of tokens", "<mask"),
        ("tokens that take spaces", "<mask> "), ("apostrophes", "'"), ("digits", "1"), ("jamo", "\u{1100}"),
        ("flags", "🇯"), ("joiners", "👩\u{200D}"), ("punctuation", ".,"), ("unknown characters", "\u{10FFFF}"),
    ]

    // What takes the square of the length would need hours for these.
    @Test(.timeLimit(.minutes(5)), arguments: SampleTokenizer.allCases)
    func `take time in proportion to their length`(sample: SampleTokenizer) throws {
        let tokenizer = try read(sample)
        for text in Self.texts {
            let long = String(repeating: text.unit, count: 150_000 / text.unit.utf8.count)
            let ids = try tokenizer.encode(long, recognizingSpecialTokens: true)
            #expect(ids.count <= long.utf8.count + 1, "\(text.name)")
        }
    }
}
