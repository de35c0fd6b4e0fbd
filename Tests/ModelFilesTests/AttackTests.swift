import Foundation
import TestSupport
import Testing

@testable import FileFuzzing
@testable import ModelFiles

/// What has been done to other readers of model files and is not tested with the readers themselves; docs/robustness.md lists
/// all, with their tests.
@Suite struct `Known attacks` {
    private func tokenizer(_ json: String) throws(TokenizerFileError) -> any TextTokenizer {
        try TokenizerFile.read(MappedFile(bytes: Array(json.utf8), path: "tokenizer.json"))
    }

    // CVE-2025-49847: a token's length was taken for 32 bits.
    @Test(arguments: [1 << 31, 1 << 32, 1 << 32 + 3, 1 << 63] as [UInt64])
    func `a token's length is not cut to 32 bits`(length: UInt64) throws {
        var builder = GGUFBuilder()
        builder.add(
            "tokenizer.ggml.tokens", .array,
            GGUFBuilder.array(.string, count: 1, GGUFBuilder.little(length) + Array("abc".utf8)))
        #expect(throws: GGUFError.self) { try builder.file() }
    }

    // llama.cpp 25969 and 27226: `<0x-1>` wrote before the table of bytes.
    @Test func `byte tokens have exactly two hexadecimal digits`() throws {
        let texts = [
            "<0x-1>", "<0x+1>", "<0x 1>", "<0x1>", "<0x100>", "<0x0G>", "<0xFF", "0xFF>", "<0XFF>", "<0x\u{301}>",
        ]
        for text in texts {
            #expect(TokenDecoder.fallbackByte(Array(text.utf8)) == nil, "\(text)")
            let file = SampleTokenizer.characters.json.replacing(#""ll":265"#, with: #""ll":265,"\#(text)":266"#)
            // It is a token like any other.
            #expect(try tokenizer(file).decode([266]) == text)
        }
        #expect(TokenDecoder.fallbackByte(Array("<0xfF>".utf8)) == 0xFF)
    }

    // CVE-2025-52566: a count of tokens compared with and without its sign.
    @Test func `negative IDs are no tokens`() throws {
        for sample in SampleTokenizer.allCases {
            let tokenizer = try tokenizer(sample.json)
            for id in [-1, Int32.min, Int32(tokenizer.vocabularySize), .max] {
                #expect(throws: TokenizerError.self, "\(sample) \(id)") { try tokenizer.decode([id]) }
                #expect(throws: TokenizerError.self) { try tokenizer.isControl(id) }
            }
        }
    }

    @Test(arguments: [-1, Int64(Int32.max) + 1, .min])
    func `special IDs have a sign, and are not cut to 32 bits`(id: Int64) throws {
        var builder = GGUFBuilder.sample(without: ["unknown"])
        builder.add("tokenizer.ggml.unknown_token_id", .int64, GGUFBuilder.little(id))
        let file = try builder.file()
        #expect(throws: TokenizerError.self) { try ByteLevelBPETokenizer(file) }
    }

    // A text that spells a special token out spoke in another's name, where the model's own vocabulary has the token.
    @Test func `texts make no special tokens by way of the model's vocabulary`() throws {
        let unigram = try tokenizer(SampleTokenizer.unigram.json)
        #expect(try unigram.tokenText(1) == "</s>")
        #expect(try !unigram.encode("</s>").contains(1))
        #expect(try unigram.encode("</s>", recognizingSpecialTokens: true) == [1])

        // Where spaces alone cut the text, a whole token is a piece of it.
        let cut = #""pre_tokenizer":{"type":"WhitespaceSplit"}"#
        let wordPiece = try tokenizer(
            SampleTokenizer.wordPiece.json.replacing(#""pre_tokenizer":{"type":"BertPreTokenizer"}"#, with: cut)
                .replacing(#""lowercase":true"#, with: #""lowercase":false"#))
        #expect(try wordPiece.encode("[SEP] hello") == [1, 4])
        #expect(try wordPiece.encode("[SEP] hello", recognizingSpecialTokens: true) == [3, 4])

        // A merge of ordinary characters that comes to a special token.
        let merging = SampleTokenizer.characters.json
            .replacing(#""ll":265"#, with: #""ll":265,"<":266,"s":267,">":268,"<s":269"#)
            .replacing(#"["l","l"]]"#, with: #"["l","l"],["<","s"],["<s",">"]]"#)
        let bytePairs = try tokenizer(merging)
        #expect(try bytePairs.tokenText(1) == "<s>")
        #expect(try bytePairs.encode("<s>") == [258, 269, 268])
        #expect(try bytePairs.encode("<s>", recognizingSpecialTokens: true) == [1])

        // A piece that is a token as a whole.
        let whole = merging.replacing(#""ignore_merges":false"#, with: #""ignore_merges":true"#)
            .replacing(#"{"type":"Prepend","prepend":"▁"},"#, with: "")
        #expect(try !tokenizer(whole).encode("<s>").contains(1))
    }

    // swift-transformers 131, llama.cpp 9692: the first space was taken for the border between a merge's parts.
    @Test func `merges of tokens with spaces are pairs, and not cut at a space`() throws {
        let spaced = SampleTokenizer.characters.json
            .replacing(#"[{"type":"Prepend","prepend":"▁"},"#, with: "[")
            .replacing(#"{"type":"Replace","pattern":{"String":" "},"content":"▁"}]"#, with: "]")
            .replacing(#""ll":265"#, with: #""ll":265," ":266," l":267,"h l":268"#)
        let pairs = spaced.replacing(#"["l","l"]]"#, with: #"[" ","l"],["h"," l"]]"#)
        #expect(try tokenizer(pairs).encode("h l") == [268])
        let lines = spaced.replacing(#"[["h","e"],["▁","he"],["l","l"]]"#, with: #"["h  l"]"#)
        #expect(throws: TokenizerFileError.self) { try tokenizer(lines) }
    }

    // llama.cpp 27188: 43 bytes that claim much and hold nothing kept a reader busy; ollama 17042: or made it allocate.
    @Test func `a small file takes little memory, whatever it claims`() async {
        await #expect(processExitsWith: .success) {
            // Everything that is needed once anyway.
            _ = try? GGUFBuilder.sample().file()
            let extra = extraPeakByteCount {
                for claim in [UInt64(1) << 20, 1 << 30, 1 << 40, .max] {
                    var builder = GGUFBuilder()
                    builder.claimedPairCount = claim
                    builder.claimedTensorCount = claim
                    _ = try? builder.file()
                    var array = GGUFBuilder()
                    array.add("a", .array, GGUFBuilder.array(.string, count: claim, []))
                    _ = try? array.file()
                    var tensor = GGUFBuilder()
                    tensor.addTensor("t", [claim, 4], [])
                    _ = try? tensor.file()
                    let header = #"{"a":{"dtype":"F32","shape":[\#(claim >> 1)],"data_offsets":[0,\#(claim >> 1)]}}"#
                    _ = try? SafetensorsFile(
                        MappedFile(bytes: GGUFBuilder.little(UInt64(header.utf8.count)) + Array(header.utf8)))
                    _ = try? SafetensorsFile(MappedFile(bytes: GGUFBuilder.little(claim) + Array(header.utf8)))
                    let vocabulary = #"{"model":{"type":"WordLevel","unk_token":"a","vocab":{"a":\#(claim >> 1)}}}"#
                    _ = try? TokenizerFile.read(MappedFile(bytes: Array(vocabulary.utf8)))
                }
            }
            if let extra, extra > 32 << 20 { fatalError("\(extra) bytes were taken.") }
        }
    }

    // A header that nests deeper than the stack is high.
    @Test func `deep values do not overflow the stack`() {
        for unit in ["[", "{\"a\":"] {
            let text = String(repeating: unit, count: 200_000)
            #expect(throws: JSONError.self) { try JSONValue(parsing: Array(text.utf8)) }
            let header = Array("{\"a\":".utf8) + Array(text.utf8)
            #expect(throws: SafetensorsError.self) {
                try SafetensorsFile(MappedFile(bytes: GGUFBuilder.little(UInt64(header.count)) + header))
            }
        }
        var nested = GGUFBuilder.array(.uint8, count: 0, [])
        for _ in 0..<20_000 { nested = GGUFBuilder.array(.array, count: 1, nested) }
        var builder = GGUFBuilder()
        builder.add("deep", .array, nested)
        #expect(throws: GGUFError.self) { try builder.file() }
    }

    // CVE-2024-34359 and others: chat templates are programs. Here they are text that nobody reads.
    @Test func `templates in a configuration are not run`() throws {
        let folder = "\(TestEnvironment.temporaryFolder)/attack-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        func write(_ name: String, _ text: String) throws {
            try Data(text.utf8).write(to: URL(fileURLWithPath: "\(folder)/\(name)"))
        }
        try write("tokenizer.json", SampleTokenizer.words.json)
        let template = "{{ ''.__class__.__mro__[1].__subclasses__() }}{% for x in range(10**9) %}{% endfor %}"
        try write("tokenizer_config.json", #"{"chat_template":"\#(template)"}"#)
        #expect(try TokenizerFile.read(folder).encode("hello") == [1])
    }
}
