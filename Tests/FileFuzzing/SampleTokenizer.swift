/// Small tokenizers, one for each kind of model and with most other parts between them.
package enum SampleTokenizer: String, CaseIterable, Sendable {
    case wordPiece, byteLevel, llama3, characters, unigram, words

    /// The file.
    package var json: String {
        switch self {
        case .wordPiece:
            #"""
            {"version":"1.0","truncation":{"max_length":128,"strategy":"LongestFirst","stride":0},
            "padding":{"strategy":{"Fixed":128},"direction":"Right","pad_to_multiple_of":null,"pad_id":0,"pad_type_id":0,
            "pad_token":"[PAD]"},"added_tokens":[\#(Self.added(0, "[PAD]")),\#(Self.added(1, "[UNK]")),
            \#(Self.added(2, "[CLS]")),\#(Self.added(3, "[SEP]"))],
            "normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,
            "lowercase":true},"pre_tokenizer":{"type":"BertPreTokenizer"},
            "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"[CLS]","type_id":0}},
            {"Sequence":{"id":"A","type_id":0}},{"SpecialToken":{"id":"[SEP]","type_id":0}}],"pair":[],
            "special_tokens":{"[CLS]":{"id":"[CLS]","ids":[2],"tokens":["[CLS]"]},
            "[SEP]":{"id":"[SEP]","ids":[3],"tokens":["[SEP]"]}}},
            "decoder":{"type":"WordPiece","prefix":"##","cleanup":true},
            "model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##",
            "max_input_chars_per_word":100,"vocab":{"[PAD]":0,"[UNK]":1,"[CLS]":2,"[SEP]":3,"hello":4,"hel":5,"##lo":6,
            "##l":7,",":8,"world":9,"日":10,"##s":11,"a":12,"##a":13,"[":14,"]":15,"sep":16,"!":17,"##ll":18}}}
            """#
        case .byteLevel:
            #"""
            {"version":"1.0","truncation":null,"padding":null,"added_tokens":[\#(Self.added(0, "<|endoftext|>")),
            {"id":262,"content":"<mask>","single_word":false,"lstrip":true,"rstrip":true,"normalized":false,
            "special":true},{"id":263,"content":"wor","single_word":true,"lstrip":false,"rstrip":false,
            "normalized":true,"special":false}],"normalizer":{"type":"NFC"},
            "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},
            "post_processor":{"type":"RobertaProcessing","sep":["<|endoftext|>",0],"cls":["<|endoftext|>",0],
            "trim_offsets":true,"add_prefix_space":true},
            "decoder":{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},
            "model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,
            "end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"ignore_merges":false,
            "vocab":{"<|endoftext|>":0,\#(Self.byteAlphabet),"he":257,"ll":258,"Ġhe":259,"Ġhell":260,"ĠĠ":261},
            "merges":[["h","e"],["l","l"],["Ġ","he"],["Ġhe","ll"],["Ġ","Ġ"]]}}
            """#
        case .llama3:
            #"""
            {"version":"1.0","added_tokens":[\#(Self.added(0, "<|begin_of_text|>"))],"normalizer":null,
            "pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":
            "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
            "behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,
            "use_regex":false}]},"post_processor":{"type":"Sequence","processors":[{"type":"ByteLevel"},
            {"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<|begin_of_text|>","type_id":0}},
            {"Sequence":{"id":"A","type_id":0}}],"pair":[],"special_tokens":{"<|begin_of_text|>":
            {"id":"<|begin_of_text|>","ids":[0],"tokens":["<|begin_of_text|>"]}}}]},"decoder":{"type":"ByteLevel"},
            "model":{"type":"BPE","ignore_merges":true,"vocab":{"<|begin_of_text|>":0,\#(Self.byteAlphabet),"he":257,
            "ll":258,"hello":259},"merges":["h e","l l"]}}
            """#
        case .characters:
            #"""
            {"version":"1.0","added_tokens":[\#(Self.added(0, "<unk>")),\#(Self.added(1, "<s>"))],
            "normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},
            {"type":"Replace","pattern":{"String":" "},"content":"▁"}]},"pre_tokenizer":null,
            "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},
            {"Sequence":{"id":"A","type_id":0}}],"pair":[],"special_tokens":{"<s>":{"id":"<s>","ids":[1],
            "tokens":["<s>"]}}},"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},
            "content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},
            "model":{"type":"BPE","unk_token":"<unk>","fuse_unk":true,"byte_fallback":true,"ignore_merges":false,
            "vocab":{"<unk>":0,"<s>":1,\#(Self.fallback),"▁":258,"h":259,"e":260,"l":261,"o":262,"he":263,"▁he":264,
            "ll":265},"merges":[["h","e"],["▁","he"],["l","l"]]}}
            """#
        case .unigram:
            #"""
            {"version":"1.0","added_tokens":[\#(Self.added(0, "<unk>")),\#(Self.added(1, "</s>"))],
            "normalizer":{"type":"Sequence","normalizers":[{"type":"Nmt"},{"type":"NFKC"},{"type":"Strip",
            "strip_left":false,"strip_right":true},{"type":"Replace","pattern":{"Regex":" {2,}"},"content":" "}]},
            "pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true},
            "post_processor":{"type":"TemplateProcessing","single":[{"Sequence":{"id":"A","type_id":0}},
            {"SpecialToken":{"id":"</s>","type_id":0}}],"pair":[],"special_tokens":{"</s>":{"id":"</s>","ids":[1],
            "tokens":["</s>"]}}},"decoder":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always"},
            "model":{"type":"Unigram","unk_id":0,"byte_fallback":false,"vocab":[["<unk>",0],["</s>",0],["▁",-3],
            ["▁he",-4],["l",-5],["ll",-5.5],["o",-6],["h",-6],["e",-6],["▁hello",-20],["1",-4]]}}
            """#
        case .words:
            #"""
            {"version":"1.0","added_tokens":[],"normalizer":{"type":"Sequence","normalizers":[{"type":"NFKD"},
            {"type":"StripAccents"},{"type":"Lowercase"}]},"pre_tokenizer":{"type":"Sequence","pretokenizers":[
            {"type":"Whitespace"},{"type":"Digits","individual_digits":false},
            {"type":"Punctuation","behavior":"Contiguous"}]},"post_processor":null,"decoder":null,
            "model":{"type":"WordLevel","unk_token":"<unk>","vocab":{"<unk>":0,"hello":1,",":2,"world":3,"12":4}}}
            """#
        }
    }

    /// The name of the target that encodes with it.
    var fuzzName: String {
        switch self {
        case .wordPiece: "encode-word-piece"
        case .byteLevel: "encode-byte-level"
        case .llama3: "encode-llama3"
        case .characters: "encode-byte-fallback"
        case .unigram: "encode-unigram"
        case .words: "encode-words"
        }
    }

    /// The file without most of the tokens that stand for a byte each.
    var smallJSON: String {
        json.replacing(Self.byteAlphabet, with: #""h":1,"e":2,"l":3,"Ġ":4,"Ċ":5"#)
            .replacing(Self.fallback, with: #""<0x00>":2,"<0x41>":3"#)
    }

    private static func added(_ id: Int, _ text: String) -> String {
        #"{"id":\#(id),"content":"\#(text)","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"#
            + #""special":true}"#
    }

    /// GPT-2's characters for all bytes, from 1 on.
    private static let byteAlphabet: String = {
        var next: UInt32 = 0x100
        return (0..<256).map { (byte: UInt32) in
            var value = byte
            if !(0x21...0x7E ~= byte || 0xA1...0xAC ~= byte || 0xAE...0xFF ~= byte) {
                value = next
                next += 1
            }
            let character = Unicode.Scalar(value).map { String(Character($0)) } ?? ""
            return "\"\(character == "\"" || character == "\\" ? "\\" : "")\(character)\":\(byte + 1)"
        }.joined(separator: ",")
    }()

    /// The tokens of all bytes, from 2 on.
    private static let fallback = (0..<256).map { byte in
        let digits = String(byte, radix: 16, uppercase: true)
        return "\"<0x\(digits.utf8.count < 2 ? "0" : "")\(digits)>\":\(byte + 2)"
    }.joined(separator: ",")
}
