import ModelFiles

extension FuzzTarget {
    /// The readers of ModelFiles, and the tokenizers.
    public static var files: [FuzzTarget] {
        [json, gguf, ggufTokenizer, safetensors, corpus, tokenizerFile, vocabulary] + tokenizers
    }

    /// JSON: what is written of what was read is read as the same.
    static let json = FuzzTarget(
        "json", maximumByteCount: 1024,
        seeds: {
            [
                (
                    "values",
                    #"{"a":[1,-0,2.5e-3,1e308,9223372036854775807,true,false,null],"":{"#
                        + #""\u00e9\n\"\\":"\ud83d\ude00"}}"#
                ),
                ("nested", String(repeating: "[", count: 30) + String(repeating: "]", count: 30)),
                ("space", " \t\r\n[ 1 , { \"a\" : \"\\b\\f\\/\" } ] "),
            ].map { ($0.0, Array($0.1.utf8)) }
        },
        mutate: JSONMutation.mutated,
        run: { bytes in
            guard let value = try? JSONValue(parsing: bytes) else { return }
            let text = try? value.serialized()
            hold(text != nil, "What was read cannot be written.")
            let again = text.flatMap { try? JSONValue(parsing: $0) }
            hold(again == value, "What was written is read as another value.")
            hold((try? again?.serialized()) == text, "What was written is written otherwise the second time.")
        })

    // MARK: - GGUF

    /// GGUF: all of a file that is accepted can be read.
    static let gguf = FuzzTarget(
        "gguf", maximumByteCount: 2048,
        seeds: { [("sample", GGUFSample.small), ("tokens", GGUFSample.tokenizer)] },
        mutate: GGUFMutation.mutated,
        run: { bytes in
            guard let file = try? GGUFFile(MappedFile(bytes: Array(bytes), path: "fuzzed.gguf")) else { return }
            let metadata = file.metadata
            for key in metadata.keys {
                hold(metadata.contains(key), "A key is not found.")
                guard let value = try? metadata.value(key) else {
                    hold(false, "A value that was accepted cannot be read.")
                    return
                }
                if case .array(let array) = value {
                    hold(array.reduce(0) { count, _ in count + 1 } == array.count, "An array ends early.")
                }
                _ = try? metadata.integer(key, as: Int32.self)
                _ = try? metadata.double(key)
                _ = try? metadata.string(key)
                _ = try? metadata.boolean(key)
                _ = try? metadata.doubles(key)
                _ = try? metadata.integers(key, as: UInt8.self)
                if let strings = try? metadata.strings(key) {
                    for index in 0..<strings.count { _ = strings.string(at: index) }
                }
            }
            for tensor in file.tensors {
                hold(
                    tensor.elementCount / tensor.type.blockLength * tensor.type.bytesPerBlock == tensor.data.count,
                    "A tensor's size is not that of its bytes.")
                hold(file.tensor(named: tensor.name)?.data.range == tensor.data.range, "A tensor is not found.")
                _ = tensor.data.withUnsafeBytes { $0.reduce(0, &+) }
            }
        })

    /// The tokenizer in a GGUF file, and texts that it encodes.
    static let ggufTokenizer = FuzzTarget(
        "gguf-tokenizer", maximumByteCount: 2048,
        seeds: { [("tokens", GGUFSample.tokenizer)] },
        mutate: GGUFMutation.mutated,
        run: { bytes in
            guard let file = try? GGUFFile(MappedFile(bytes: Array(bytes), path: "fuzzed.gguf")),
                let tokenizer = try? ByteLevelBPETokenizer(file)
            else { return }
            for text in TokenizerChecks.texts { TokenizerChecks.check(tokenizer, Array(text.utf8)) }
            TokenizerChecks.decodeAll(tokenizer)
        })

    // MARK: - safetensors

    /// safetensors: all of a file that is accepted can be read.
    static let safetensors = FuzzTarget(
        "safetensors", maximumByteCount: 1024,
        seeds: {
            func file(_ header: String, _ byteCount: Int) -> [UInt8] {
                little(UInt64(header.utf8.count)) + header.utf8 + [UInt8](repeating: 7, count: byteCount)
            }
            return [
                (
                    "two",
                    file(
                        #"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"#
                            + #""b":{"dtype":"BF16","shape":[],"data_offsets":[24,26]}}"#, 26)
                ),
                ("empty", file(#"{"e":{"dtype":"I64","shape":[0,5],"data_offsets":[0,0]}}   "#, 0)),
                ("none", file("{}", 0)),
            ]
        },
        mutate: SafetensorsMutation.mutated,
        run: { bytes in
            guard let file = try? SafetensorsFile(MappedFile(bytes: Array(bytes), path: "fuzzed.safetensors")) else {
                return
            }
            var byteCount = 0
            for tensor in file.tensors {
                hold(
                    tensor.shape.reduce(tensor.elementType.byteCount, *) == tensor.data.count,
                    "A tensor's size is not that of its bytes.")
                hold(file.tensor(named: tensor.name)?.data.range == tensor.data.range, "A tensor is not found.")
                byteCount += tensor.data.count
                _ = tensor.data.withUnsafeBytes { $0.reduce(0, &+) }
            }
            hold(byteCount <= bytes.count, "The tensors have more bytes than the file.")
            for pair in file.metadata { hold(file.metadataValue(pair.key) != nil, "A metadata key is not found.") }
        })

    // MARK: - Corpora

    /// A corpus on standard input, text or JSON lines, and the tokenizers that are learned from it.
    static let corpus = FuzzTarget(
        "corpus", maximumByteCount: 512,
        seeds: {
            [
                ("text", "The dog barks, the dog runs; 日本 e\u{301}.\n\nThe end."),
                (
                    "pairs",
                    #"{"source": "a b", "target": "b a"}"# + "\n\n" + #"{"source":"c","target":"d","x":1}"# + "\r\n"
                ),
            ].map { ($0.0, Array($0.1.utf8)) }
        },
        mutate: { bytes, random in
            random.oneIn(2) ? TextMutation.mutated(bytes, &random) : JSONMutation.mutated(bytes, &random)
        },
        run: { bytes in
            guard let corpus = try? Corpus(["-"], standardInput: Array(bytes)) else { return }
            // Short texts have too few pairs for many tokens.
            let bytePairs = [280, 260, 257].lazy.compactMap { size -> ByteLevelBPETokenizer? in
                guard var trainer = try? BytePairTrainer(vocabularySize: size), (try? trainer.add(corpus)) != nil else {
                    return nil
                }
                return try? trainer.train()
            }.first
            guard let bytePairs else { return }
            for text in corpus.texts.map({ Array($0.unsafeBytes) }) {
                TokenizerChecks.check(bytePairs, text, isLossless: true)
                if let characters = try? CharacterTokenizer(corpus) {
                    TokenizerChecks.check(characters, text, isLossless: true)
                }
            }
        })
}

/// GGUF files to begin with.
private enum GGUFSample {
    private static func string(_ text: String) -> [UInt8] { little(UInt64(text.utf8.count)) + text.utf8 }

    private static func pair(_ key: String, _ type: GGUFFile.ValueType, _ value: [UInt8]) -> [UInt8] {
        string(key) + little(type.rawValue) + value
    }

    private static func array(_ type: GGUFFile.ValueType, _ elements: [[UInt8]]) -> [UInt8] {
        little(type.rawValue) + little(UInt64(elements.count)) + elements.joined()
    }

    private static func file(_ pairs: [[UInt8]], _ tensors: [(String, [UInt64], UInt32, Int)] = []) -> [UInt8] {
        var bytes = Array("GGUF".utf8) + little(UInt32(3)) + little(UInt64(tensors.count)) + little(UInt64(pairs.count))
        bytes += pairs.joined()
        var data: [UInt8] = []
        for (name, dimensions, type, byteCount) in tensors {
            bytes += string(name) + little(UInt32(dimensions.count)) + dimensions.flatMap { little($0) }
            bytes += little(type) + little(UInt64(data.count))
            data += [UInt8](repeating: 3, count: (byteCount + 31) & ~31)
        }
        return bytes + [UInt8](repeating: 0, count: (32 - bytes.count % 32) % 32) + data
    }

    /// A value of every type, a tensor of every type.
    static let small = file(
        [
            pair("general.architecture", .string, string("llama")), pair("u8", .uint8, [200]),
            pair("general.alignment", .uint32, little(UInt32(32))),
            pair("i8", .int8, [255]), pair("u16", .uint16, little(UInt16(7))), pair("i16", .int16, little(Int16(-2))),
            pair("i32", .int32, little(Int32(30))), pair("u64", .uint64, little(UInt64.max)),
            pair("i64", .int64, little(Int64.min)), pair("f32", .float32, little(Float(1e-5).bitPattern)),
            pair("f64", .float64, little(0.1.bitPattern)), pair("yes", .boolean, [1]),
            pair("flags", .array, array(.boolean, [[0], [1]])),
            pair("nested", .array, array(.array, [array(.uint8, [[9]]), array(.string, [string("x")])])),
        ],
        [
            ("norm", [4], 0, 16), ("half", [2, 3], 1, 12), ("brain", [2], 30, 4), ("q8", [32], 8, 34),
            ("q4_0", [32], 2, 18), ("q4_1", [32, 1], 3, 20),
        ])

    /// A tokenizer.
    static let tokenizer: [UInt8] = {
        let tokens = [
            "<|end|>", "<|start|>", "h", "e", "l", "o", "Ġ", "a", "Ã", "©", "1", "Ċ", "!", "he", "ll", "hell", "hello",
            "Ġa", "Ã©", "<word>",
        ]
        let types = tokens.map { $0 == "<word>" ? 4 : $0.hasPrefix("<|") ? 3 : 1 }
        return file([
            pair("tokenizer.ggml.model", .string, string("gpt2")),
            pair("tokenizer.ggml.pre", .string, string("smollm")),
            pair("tokenizer.ggml.tokens", .array, array(.string, tokens.map(string))),
            pair("tokenizer.ggml.token_type", .array, array(.int32, types.map { little(Int32($0)) })),
            pair(
                "tokenizer.ggml.merges", .array,
                array(.string, ["h e", "l l", "he ll", "hell o", "Ġ a", "Ã ©"].map(string))),
            pair("tokenizer.ggml.bos_token_id", .uint32, little(UInt32(1))),
            pair("tokenizer.ggml.eos_token_id", .uint32, little(UInt32(0))),
            pair("tokenizer.ggml.unknown_token_id", .uint32, little(UInt32(0))),
            pair("tokenizer.ggml.add_bos_token", .boolean, [0]),
        ])
    }()
}
