import ModelFiles
import TestSupport
import Testing

/// The reference results, made by Transformers from the GGUF file.
private enum Reference {
    struct Case: Sendable, CustomTestStringConvertible {
        let text: String
        let ids: [Int32]
        let decoded: String
        var testDescription: String { text.debugDescription }
    }

    /// The file in the folder that `ATTENTION_CONFORMANCE` names, or else the committed one.
    static let path: String = {
        if let folder = TestEnvironment.variable("ATTENTION_CONFORMANCE") { return "\(folder)/tokenizers.json" }
        let folder = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
        return "/\(folder)/Fixtures/tokenizers.json"
    }()

    static func cases(of model: String = "smollm2") throws -> [Case] {
        let json = try MappedFile(reading: path).withUnsafeBytes { try JSONValue(parsing: $0) }
        return try #require(json.arrayValue).map { entry in
            Case(
                text: try #require(entry["text"]?.stringValue),
                ids: try #require(entry[model]?.arrayValue).map {
                    try #require($0.integerValue.flatMap { Int32(exactly: $0) })
                },
                decoded: try #require(entry["smollm2_decoded"]?.stringValue))
        }
    }
}

@Suite(.enabled(if: MiniLM.isTested, "MiniLM's folder is absent"))
struct `all-MiniLM-L6-v2's tokenizer` {
    @Test(arguments: ["tokenizer.json", "vocab.txt", ""])
    func `agrees with Transformers on every reference text`(file: String) throws {
        let folder = MiniLM.path
        let tokenizer = try TokenizerFile.read(file.isEmpty ? folder : "\(folder)/\(file)")
        let cases = try Reference.cases(of: "minilm")
        try #require(!cases.isEmpty)
        for reference in cases {
            let ids = try tokenizer.encode(
                reference.text, recognizingSpecialTokens: true, addingSpecialTokens: true)
            #expect(ids == reference.ids, "\(reference.text.debugDescription)")
        }
        #expect(tokenizer.vocabularySize == 30_522)
        #expect(tokenizer.beginningOfSequenceID == 101)
        #expect(tokenizer.endOfSequenceID == 102)
    }
}

@Suite(.enabled(if: SmolLM2.isTested, "SmolLM2's file is absent"))
struct `SmolLM2's tokenizer` {
    // Transformers cuts the text of a GGUF file by GPT-2's pattern, whatever the file says; so does this test.
    @Test func `agrees with Transformers on every reference text`() throws {
        let tokenizer = try ByteLevelBPETokenizer(GGUFFile(path: SmolLM2.path), preTokenizer: .gpt2)
        let cases = try Reference.cases()
        try #require(!cases.isEmpty)
        for reference in cases {
            #expect(
                try tokenizer.encode(reference.text, recognizingSpecialTokens: true) == reference.ids,
                "\(reference.text.debugDescription)")
            #expect(try Array(tokenizer.decode(reference.ids).utf8) == Array(reference.decoded.utf8))
        }
    }

    // Only numbers set the file's own pre-tokenizer apart from GPT-2's.
    @Test func `agrees with Transformers on texts without numbers as the file has it`() throws {
        let tokenizer = try ByteLevelBPETokenizer(GGUFFile(path: SmolLM2.path))
        for reference in try Reference.cases()
        where !reference.text.unicodeScalars.contains(where: { $0.properties.numericType != nil }) {
            #expect(try tokenizer.encode(reference.text, recognizingSpecialTokens: true) == reference.ids)
        }
    }

    @Test func `cuts numbers from what is before them, as in training`() throws {
        let tokenizer = try ByteLevelBPETokenizer(GGUFFile(path: SmolLM2.path))
        #expect(try tokenizer.encode("Hello world! 123") == [19_556, 905, 17, 216, 33, 34, 35])
        let (space, half, blankLine) = (Int32(216), try tokenizer.encode("½"), try tokenizer.encode("\n\n"))
        #expect(blankLine.count == 1)
        #expect(try tokenizer.encode(" ½") == [space] + half)
        #expect(try tokenizer.encode("\n\n1") == blankLine + [33])
    }

    @Test func `knows its special tokens`() throws {
        let tokenizer = try ByteLevelBPETokenizer(GGUFFile(path: SmolLM2.path))
        #expect(tokenizer.vocabularySize == 49_152)
        #expect(tokenizer.beginningOfSequenceID == 1)
        #expect(tokenizer.endOfSequenceID == 2)
        #expect(tokenizer.unknownID == 0)
        #expect(tokenizer.paddingID == 2)
        #expect(!tokenizer.addsBeginningOfSequence)
        #expect(tokenizer.specialTokenID("<|im_start|>") == 1)
        #expect(try tokenizer.tokenText(905) == "Ġworld")
        // A user's text cannot speak as the system.
        #expect(try !tokenizer.encode("<|im_start|>").contains(1))
    }

    @Test func `streams what it decodes at once`() throws {
        let tokenizer = try ByteLevelBPETokenizer(GGUFFile(path: SmolLM2.path))
        for reference in try Reference.cases() {
            var decoder = StreamingDecoder(tokenizer)
            var text = ""
            for id in reference.ids { text += try decoder.append(id) }
            text += decoder.finish()
            #expect(Array(text.utf8) == Array(reference.decoded.utf8))
        }
    }

    @Test func `has 272 tensors`() throws {
        let file = try GGUFFile(path: SmolLM2.path)
        #expect(file.tensors.count == 272)
        #expect(try file.metadata.integer("llama.block_count") == 30)
        let embedding = try file.requireTensor(named: "token_embd.weight")
        #expect(embedding.type == .q80)
        #expect(embedding.dimensions == [576, 49_152])
        #expect(embedding.data.count == 576 * 49_152 / 32 * 34)
    }
}
