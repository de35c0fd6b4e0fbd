import ModelFiles

/// Writes GGUF files, honest ones and lying ones.
struct GGUFBuilder {
    var magic = Array("GGUF".utf8)
    var version: UInt32 = 3
    /// What the header claims in place of the true number.
    var claimedPairCount: UInt64?
    /// What the header claims in place of the true number.
    var claimedTensorCount: UInt64?
    var alignment = 32
    private var pairs: [[UInt8]] = []
    private var tensors: [[UInt8]] = []
    private var data: [UInt8] = []

    static func little<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        withUnsafeBytes(of: number.littleEndian) { Array($0) }
    }

    static func string(_ text: some Sequence<UInt8>) -> [UInt8] {
        let bytes = Array(text)
        return little(UInt64(bytes.count)) + bytes
    }

    static func string(_ text: String) -> [UInt8] {
        string(text.utf8)
    }

    static func array(_ type: GGUFFile.ValueType, count: UInt64, _ elements: [UInt8]) -> [UInt8] {
        little(type.rawValue) + little(count) + elements
    }

    mutating func add(_ key: String, type: UInt32, _ payload: [UInt8]) {
        pairs.append(Self.string(key) + Self.little(type) + payload)
    }

    mutating func add(_ key: String, _ type: GGUFFile.ValueType, _ payload: [UInt8]) {
        add(key, type: type.rawValue, payload)
    }

    mutating func add(_ key: String, _ text: String) {
        add(key, .string, Self.string(text))
    }

    mutating func add(_ key: String, _ number: UInt32) {
        add(key, .uint32, Self.little(number))
    }

    mutating func add(_ key: String, _ texts: [String]) {
        add(key, .array, Self.array(.string, count: UInt64(texts.count), texts.flatMap { Self.string($0) }))
    }

    /// Adds a pair exactly as given.
    mutating func addPair(_ bytes: [UInt8]) {
        pairs.append(bytes)
    }

    mutating func addTensor(
        _ name: String, _ dimensions: [UInt64], type: UInt32 = 0, offset: UInt64? = nil, _ bytes: [UInt8],
        dimensionCount: UInt32? = nil
    ) {
        tensors.append(
            Self.string(name) + Self.little(dimensionCount ?? UInt32(dimensions.count))
                + dimensions.flatMap { Self.little($0) } + Self.little(type)
                + Self.little(offset ?? UInt64(data.count)))
        data += bytes
        while data.count % alignment != 0 { data.append(0) }
    }

    var bytes: [UInt8] {
        var bytes = magic + Self.little(version)
        bytes += Self.little(claimedTensorCount ?? UInt64(tensors.count))
        bytes += Self.little(claimedPairCount ?? UInt64(pairs.count))
        bytes += Array((pairs + tensors).joined())
        while bytes.count % alignment != 0 { bytes.append(0) }
        return bytes + data
    }

    func file() throws(GGUFError) -> GGUFFile {
        try GGUFFile(MappedFile(bytes: bytes, path: "built.gguf"))
    }
}

extension GGUFBuilder {
    /// Tokens: two special ones, some bytes, and what merges make of `hello`, ` a` and `é`.
    static let tokens = [
        "<|end|>", "<|start|>", "h", "e", "l", "o", "Ġ", "a", "Ã", "©", "1", "'", "s", "Ċ", "!", "Ì", "ģ",
        "he",
        "ll", "hell", "hello", "Ġa", "Ã©", "ĠĠ", "<word>",
    ]
    static let merges = ["h e", "l l", "he ll", "hell o", "Ġ a", "Ã ©", "Ġ Ġ"]

    /// A small language model's file: a tokenizer, a value of every type, a tensor of every type.
    static func sample(
        tokens: [String] = tokens, merges: [String] = merges, preTokenizer: String = "smollm",
        types: [Int32]? = nil, without: Set<String> = [], tokenizer: String = "gpt2", padding: UInt32 = 0
    ) -> GGUFBuilder {
        var builder = GGUFBuilder()
        builder.add("general.architecture", "llama")
        builder.add("u8", .uint8, [200])
        builder.add("i8", .int8, [0xFF])
        builder.add("u16", .uint16, little(UInt16(65_535)))
        builder.add("i16", .int16, little(Int16(-2)))
        builder.add("i32", .int32, little(Int32(30)))
        builder.add("u64", .uint64, little(UInt64.max))
        builder.add("i64", .int64, little(Int64.min))
        builder.add("f32", .float32, little(Float(1e-5).bitPattern))
        builder.add("f64", .float64, little(Double(0.1).bitPattern))
        builder.add("flags", .array, array(.boolean, count: 3, [0, 1, 1]))
        builder.add(
            "nested", .array,
            array(.array, count: 2, array(.uint8, count: 1, [9]) + array(.string, count: 1, string("x"))))
        builder.add("tokenizer.ggml.model", tokenizer)
        builder.add("tokenizer.ggml.pre", preTokenizer)
        builder.add("tokenizer.ggml.tokens", tokens)
        if !without.contains("types") {
            let types = types ?? tokens.map { $0 == "<word>" ? 4 : $0.hasPrefix("<|") ? 3 : 1 }
            builder.add(
                "tokenizer.ggml.token_type", .array,
                array(.int32, count: UInt64(types.count), types.flatMap { little($0) }))
        }
        if !without.contains("merges") { builder.add("tokenizer.ggml.merges", merges) }
        builder.add("tokenizer.ggml.bos_token_id", 1)
        builder.add("tokenizer.ggml.eos_token_id", 0)
        if !without.contains("unknown") { builder.add("tokenizer.ggml.unknown_token_id", 0) }
        builder.add("tokenizer.ggml.padding_token_id", padding)
        builder.add("tokenizer.ggml.add_bos_token", .boolean, [0])
        builder.addTensor("norm", [4], type: 0, [UInt8](repeating: 1, count: 16))
        builder.addTensor("half", [2, 3], type: 1, [UInt8](repeating: 2, count: 12))
        builder.addTensor("brain", [2], type: 30, [UInt8](repeating: 3, count: 4))
        builder.addTensor("q8", [32], type: 8, [UInt8](repeating: 4, count: 34))
        builder.addTensor("q4_0", [32], type: 2, [UInt8](repeating: 5, count: 18))
        builder.addTensor("q4_1", [32, 1], type: 3, [UInt8](repeating: 6, count: 20))
        return builder
    }
}
