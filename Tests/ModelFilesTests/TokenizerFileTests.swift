import TestSupport
import Testing

@testable import ModelFiles

private func trained() throws -> ByteLevelBPETokenizer {
    var trainer = try BytePairTrainer(vocabularySize: 261)
    try trainer.add("the cat sat on the mat, the hat")
    return try trainer.train()
}

private func read(_ bytes: [UInt8]) throws(TokenizerFileError) -> any TextTokenizer {
    try TokenizerFile.read(MappedFile(bytes: bytes, path: "tokenizer.json"))
}

private func problem(_ bytes: [UInt8]) -> TokenizerFileError.Problem? {
    do {
        _ = try read(bytes)
        return nil
    } catch {
        return error.problem
    }
}

/// Returns what is wrong with the trained tokenizer's file where a text in it is replaced by another.
private func problem(replacing text: String, with other: String) throws -> TokenizerFileError.Problem? {
    let file = String(decoding: try TokenizerFile.serialized(trained()), as: UTF8.self)
    try #require(file.contains(text), "\(text)")
    return problem(Array(file.replacing(text, with: other).utf8))
}

@Suite struct `Character tokenizers` {
    @Test func `have a token for each character, by code point`() throws {
        let tokenizer = try CharacterTokenizer(texts: ["bé\n", "ab日"])
        #expect(tokenizer.characters == ["\n", "a", "b", "é", "日"])
        #expect(tokenizer.vocabularySize == 7)
        #expect(tokenizer.unknownID == 5)
        #expect(tokenizer.endOfSequenceID == 6)
        #expect(try tokenizer.encode("日x\nb") == [4, 5, 0, 2])
        #expect(try tokenizer.decode([4, 5, 0, 2]) == "日\u{FFFD}\nb")
        #expect(try tokenizer.decode([1, 6]) == "a<|endoftext|>")
        #expect(try tokenizer.decode([1, 6], skippingSpecialTokens: true) == "a")
        #expect(try tokenizer.bytes(of: 3) == [0xC3, 0xA9])
        #expect(try tokenizer.isControl(6))
        #expect(try !tokenizer.isControl(5))
        for id: Int32 in [-1, 7] {
            let error = TokenizerError.tokenIDOutOfRange(id: Int(id), vocabularySize: 7)
            #expect(throws: error) { try tokenizer.decode([id]) }
            #expect(throws: error) { try tokenizer.bytes(of: id) }
            #expect(throws: error) { try tokenizer.isControl(id) }
        }
    }

    @Test func `texts come back to the byte`() throws {
        // Canonically equivalent, and one character to Swift: yet four scalars that are not one.
        let text = "e\u{301}\u{E9}\r\n\u{0}🇨🇭\u{10FFFF}\u{FFFD}"
        let tokenizer = try CharacterTokenizer(texts: [text])
        #expect(try tokenizer.encode("e\u{301}") != tokenizer.encode("\u{E9}"))
        #expect(try Array(tokenizer.decode(tokenizer.encode(text)).utf8) == Array(text.utf8))
        #expect(try tokenizer.encode(text).allSatisfy { $0 != tokenizer.unknownID })
    }

    @Test func `bad texts are refused`() throws {
        #expect(throws: TokenizerError.emptyCorpus) { try CharacterTokenizer(texts: [""]) }
        let tokenizer = try CharacterTokenizer(texts: ["a"])
        #expect(throws: TokenizerError.invalidUTF8(offset: 1)) { try tokenizer.encode(utf8: [0x61, 0xC3]) }
        let slice = MappedFile(bytes: [0x61, 0x80]).slice(0..<2)
        #expect(throws: TokenizerError.invalidUTF8(offset: 1)) { try CharacterTokenizer(utf8: [slice]) }
    }

    @Test func `stream a character at a time`() throws {
        var decoder = StreamingDecoder(try CharacterTokenizer(texts: ["日a"]))
        #expect(try decoder.append(1) == "日")
        #expect(try decoder.append(0) == "a")
    }
}

@Suite struct `Tokenizer files` {
    @Test func `what is written reads back`() throws {
        try withTemporaryFolder { folder in
            let gguf = try ByteLevelBPETokenizer(GGUFBuilder.sample().file())
            let tokenizers: [any TextTokenizer] = [
                try trained(), try CharacterTokenizer(texts: ["a\"\\\n\u{0}e\u{301}\u{E9}\u{10FFFF}"]), gguf,
            ]
            for tokenizer in tokenizers {
                try TokenizerFile.write(tokenizer, to: "\(folder)/tokenizer.json")
                let read = try TokenizerFile.read("\(folder)/tokenizer.json")
                #expect(read.fingerprint == tokenizer.fingerprint)
                #expect(read.endOfSequenceID == tokenizer.endOfSequenceID)
                #expect(read.beginningOfSequenceID == tokenizer.beginningOfSequenceID)
                #expect(read.vocabularySize == tokenizer.vocabularySize)
                let text = "hello the cat 1"
                #expect(try read.encode(text) == tokenizer.encode(text))
                #expect(try TokenizerFile.serialized(read) == TokenizerFile.serialized(tokenizer))
            }
            #expect(Set(tokenizers.map { $0.fingerprint }).count == 3)
        }
    }

    // What `tokenizers` 0.23 wrote of `ByteLevelBPETokenizer`, trained to two merges, its tables cut to what they need.
    @Test(arguments: [#"["a","t"],["Ġ","at"]"#, #""a t","Ġ at""#])
    func `files of the package tokenizers are read`(merges: String) throws {
        let file = #"""
            {"version":"1.0","truncation":null,"padding":null,"added_tokens":[{"id":0,"content":"<|endoftext|>",
            "single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],"normalizer":null,
            "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},
            "post_processor":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":false,"use_regex":true},
            "decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},
            "model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,
            "end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"ignore_merges":false,
            "vocab":{"<|endoftext|>":0,"a":1,"t":2,"Ġ":3,"at":4,"Ġat":5},"merges":[\#(merges)]}}
            """#
        let tokenizer = try read(Array(file.utf8))
        #expect(try tokenizer.encode("at at t") == [4, 5, 3, 2])
        #expect(tokenizer.endOfSequenceID == 0)
        // That package passes over what the vocabulary lacks, and so does this one.
        #expect(try tokenizer.encode("abt") == [4])
    }

    @Test func `what is not implemented is refused, not ignored`() throws {
        for (text, other, field) in [
            (#""normalizer":null"#, #""normalizer":{"type":"NFC"}"#, "normalizer"),
            (#""dropout":null"#, #""dropout":0.1"#, "model.dropout"),
            (#""end_of_word_suffix":null"#, #""end_of_word_suffix":"</w>""#, "model.end_of_word_suffix"),
            (#""byte_fallback":false"#, #""byte_fallback":true"#, "model.byte_fallback"),
            (#""ignore_merges":false"#, #""ignore_merges":true"#, "model.ignore_merges"),
            (#""post_processor":null"#, #""post_processor":{"type":"TemplateProcessing"}"#, "post_processor"),
            (#""lstrip":false"#, #""lstrip":true"#, "added_tokens.lstrip"),
        ] {
            guard case .unsupported(field, _)? = try problem(replacing: text, with: other) else {
                Issue.record("\(field): \(String(describing: try problem(replacing: text, with: other)))")
                continue
            }
        }
        guard
            case .unsupported("pre_tokenizer", _)? = try problem(
                replacing: #""add_prefix_space":false"#, with: #""add_prefix_space":true"#)
        else {
            Issue.record("A space in front is taken for none.")
            return
        }
    }

    @Test func `files that lie are refused`() throws {
        #expect(try problem(replacing: #""!":0"#, with: #""!":1"#) != nil)
        #expect(try problem(replacing: #""!":0"#, with: #""!":-1"#) != nil)
        #expect(try problem(replacing: #""!":0"#, with: #""!":9223372036854775807"#) != nil)
        #expect(try problem(replacing: #""!":0,"#, with: "") != nil)
        #expect(try problem(replacing: #""the":"#, with: #""thx":"#) != nil)
        #expect(
            try problem(replacing: #"["h","e"]"#, with: #"["h","e","e"]"#)
                == .tokenizer(.malformedMerge(index: 1, text: "h e e")))
        #expect(try problem(replacing: #"["h","e"]"#, with: "7") != nil)
        #expect(
            try problem(replacing: #"["h","e"]"#, with: #"["h","日"]"#)
                == .tokenizer(.malformedMerge(index: 1, text: "h 日")))
        #expect(
            try problem(replacing: #"["h","e"]"#, with: #"["h","q"]"#)
                == .tokenizer(.mergeNotInVocabulary(index: 1, text: "h q", missing: "hq")))
        #expect(try problem(replacing: #""end_of_text":260"#, with: #""end_of_text":261"#) != nil)
        #expect(try problem(replacing: #""id":260"#, with: #""id":0"#) != nil)
        #expect(try problem(replacing: #""unk_token":null"#, with: #""unk_token":"?!""#) != nil)
        for characters in ["", "ba", "aa"] {
            #expect(problem(Array(#"{"model":{"type":"Characters","characters":"\#(characters)"}}"#.utf8)) != nil)
        }
        for text in ["", "{}", "[]", #"{"model":1}"#, #"{"model":{"type":7}}"#, "null"] {
            #expect(problem(Array(text.utf8)) != nil)
        }
    }

    @Test func `every truncation is an error`() throws {
        for tokenizer in [try trained(), try CharacterTokenizer(texts: ["abé"])] as [any TextTokenizer] {
            let whole = try TokenizerFile.serialized(tokenizer)
            #expect(problem(whole) == nil)
            // But for the line's end, which is no part of the JSON.
            for count in stride(from: 0, to: whole.count - 1, by: whole.count > 1_000 ? 13 : 1) {
                #expect(problem(Array(whole[..<count])) != nil)
            }
        }
    }

    @Test func `two thousand damaged files are refused or can be used`() throws {
        var generator = SeededGenerator(seed: 5)
        for tokenizer in [try trained(), try CharacterTokenizer(texts: ["hello é"])] as [any TextTokenizer] {
            let whole = try TokenizerFile.serialized(tokenizer)
            var readCount = 0
            for _ in 0..<1_000 {
                do {
                    let damaged = try read(generator.mutation(of: whole, in: 0..<whole.count))
                    readCount += 1
                    _ = try? damaged.encode("hello the cat é")
                    _ = try? damaged.decode(Array(-1...Int32(damaged.vocabularySize)))
                    _ = damaged.fingerprint
                } catch {
                    if error.description.isEmpty { Issue.record(error) }
                }
            }
            #expect((1..<999).contains(readCount))
        }
    }

    @Test func `files that cannot be read or written are named`() throws {
        try withTemporaryFolder { folder in
            #expect(throws: TokenizerFileError.self) { try TokenizerFile.read("\(folder)/absent.json") }
            #expect(throws: TokenizerFileError.self) {
                try TokenizerFile.write(try trained(), to: "\(folder)/absent/tokenizer.json")
            }
        }
    }
}
