import Attention
import ModelFiles
import PretrainedModels
import SequenceModels
import TestSupport
import Testing

@Suite struct `A Llama from a file` {
    /// Tokens that every tiny model has.
    private static let prompt = [5, 17, 2, 60]

    private func logits(_ contents: GGUFContents) throws -> [Float] {
        let model = try LanguageModel(contents.file(), arithmetic: .float32)
        return (try #require(model.transformer)).logits(
            of: (try #require(model.transformer)).hiddenStates(
                of: (try #require(model.transformer)).embed([Self.prompt]))
        )
        .floats
    }

    @Test(arguments: GGUFFile.TensorType.allCases)
    func `computes with stored weights what it computes with their numbers`(type: GGUFFile.TensorType) throws {
        var tiny = TinyLlama()
        tiny.type = type
        var decoded = tiny.contents
        decoded.tensors = decoded.tensors.map {
            GGUFContents.Tensor($0.name, dimensions: $0.dimensions, $0.values)
        }
        let stored = try logits(tiny.contents)
        #expect(stored.count == Self.prompt.count * tiny.tokens.count)
        #expect(stored.contains { abs($0) > 0.1 })
        // The same products in the same order; decoding may round once more than the definition here.
        #expect(largestDifference(stored, try logits(decoded)) < 1e-4)
    }

    @Test func `is described by its configuration`() throws {
        let model = try LanguageModel(TinyLlama().contents.file(path: "/models/tiny.Q8_0.gguf"))
        let configuration = (try #require(model.transformer)).configuration
        #expect(model.name == "tiny.Q8_0")
        #expect(model.path == "/models/tiny.Q8_0.gguf")
        #expect(configuration.modelDimension == 32)
        #expect(configuration.layerCount == 2)
        #expect(configuration.headCount == 4)
        #expect(configuration.keyValueHeadCount == 2)
        #expect(configuration.headDimension == 8)
        #expect(configuration.feedForwardDimension == 64)
        #expect(configuration.contextLength == 96)
        #expect(configuration.norm == .rms(epsilon: Double(Float(1e-5))))
        // The pairs of GGUF files are neighbours.
        #expect(configuration.positions == .rotary(RotaryEmbedding(dimension: 8, layout: .interleaved)))
        #expect((try #require(model.transformer)).outputWeight.rowCount == TinyLlama().tokens.count)
    }

    @Test func `has an output matrix of its own where the file has one`() throws {
        let tied = TinyLlama().contents
        var untied = tied
        var output = try #require(tied[tensor: "token_embd.weight"])
        output.name = "output.weight"
        untied[tensor: "output.weight"] = output
        #expect(try logits(untied) == logits(tied))
        untied[tensor: "output.weight"] = GGUFContents.Tensor(
            "output.weight", dimensions: output.dimensions, output.values.map { -$0 })
        #expect(try logits(untied) == logits(tied).map { -$0 })
    }

    @Test func `divides positions by the linear factor`() throws {
        var linear = TinyLlama().contents
        linear["llama.rope.scaling.type"] = .string("linear")
        linear["llama.rope.scaling.factor"] = .float32(4)
        var perPair = TinyLlama().contents
        perPair[tensor: "rope_freqs.weight"] = GGUFContents.Tensor("rope_freqs.weight", dimensions: [4], [4, 4, 4, 4])
        #expect(try logits(linear) == logits(perPair))
        #expect(try logits(linear) != logits(TinyLlama().contents))
    }

    // As llama.cpp reads them: a factor without a type is linear, 0 is none.
    @Test(arguments: ["llama.rope.scaling.factor", "llama.rope.scale_linear"])
    func `takes a factor without a type as linear`(key: String) throws {
        let plain = TinyLlama().contents
        var linear = plain
        linear["llama.rope.scaling.type"] = .string("linear")
        linear["llama.rope.scaling.factor"] = .float32(4)
        var contents = plain
        contents[key] = .float32(4)
        #expect(try logits(contents) == logits(linear))
        #expect(try logits(contents) != logits(plain))
        contents["llama.rope.scaling.type"] = .string("linear")
        #expect(try logits(contents) == logits(linear))
        for factor: Float in [0, 1] {
            contents[key] = .float32(factor)
            #expect(try logits(contents) == logits(plain))
        }
        contents[key] = .float32(4)
        contents["llama.rope.scaling.type"] = .string("none")
        #expect(try logits(contents) == logits(plain))
        contents["llama.rope.scaling.type"] = nil
        for factor in [-4, Float.nan, .infinity] {
            contents[key] = .float32(factor)
            expectRefusal(contents, key)
        }
    }

    @Test func `prefers the newer of two factors`() throws {
        var contents = TinyLlama().contents
        contents["llama.rope.scaling.factor"] = .float32(4)
        let newer = try logits(contents)
        contents["llama.rope.scale_linear"] = .float32(8)
        #expect(try logits(contents) == newer)
    }

    @Test func `is refused with rotary divisors beside a linear factor`() throws {
        var contents = TinyLlama().contents
        contents[tensor: "rope_freqs.weight"] = GGUFContents.Tensor(
            "rope_freqs.weight", dimensions: [4], [1, 1, 2, 2])
        let divided = try logits(contents)
        contents["llama.rope.scaling.type"] = .string("none")
        contents["llama.rope.scaling.factor"] = .float32(4)
        #expect(try logits(contents) == divided)
        for type: GGUFContents.Value? in [.string("linear"), nil] {
            contents["llama.rope.scaling.type"] = type
            expectRefusal(contents, "llama.rope.scaling.type = linear; supported: none beside the tensor rope_freqs")
        }
        contents["llama.rope.scaling.type"] = .string("llama3")
        expectRefusal(contents, "llama.rope.scaling.type = llama3")
    }

    @Test func `keeps what a key says is the default`() throws {
        var contents = TinyLlama().contents
        let plain = try logits(contents)
        contents["llama.rope.freq_base"] = nil
        contents["llama.attention.key_length"] = .uint32(8)
        contents["llama.attention.value_length"] = .uint64(8)
        contents["llama.rope.dimension_count"] = .int32(8)
        contents["llama.rope.scaling.type"] = .string("none")
        #expect(try logits(contents) == plain)
    }

    // MARK: - Contradictions

    /// Metadata that makes no sense, and what the message says about it.
    static let contradictions: [(key: String, value: GGUFContents.Value?, says: String)] = [
        ("general.architecture", .string("gemma"), "family 'gemma'; supported: llama"),
        ("general.architecture", nil, "general.architecture"),
        ("general.architecture", .uint32(1), "general.architecture"),
        ("llama.attention.head_count", .uint32(0), "llama.attention.head_count = 0"),
        ("llama.attention.head_count", .int32(-4), "llama.attention.head_count"),
        ("llama.attention.head_count", .uint32(.max), "llama.attention.head_count = 4294967295"),
        ("llama.attention.head_count", .uint64(.max), "llama.attention.head_count"),
        ("llama.attention.head_count", .uint32(6), "llama.attention.head_count = 6"),
        ("llama.attention.head_count", .string("four"), "llama.attention.head_count"),
        ("llama.attention.head_count", nil, "llama.attention.head_count"),
        ("llama.attention.head_count_kv", .uint32(3), "a divisor of the 4 heads"),
        ("llama.attention.head_count_kv", .uint32(0), "llama.attention.head_count_kv = 0"),
        ("llama.attention.head_count_kv", .uint32(8), "a divisor of the 4 heads"),
        ("llama.attention.key_length", .uint32(16), "has dimensions"),
        ("llama.attention.key_length", .uint32(0x7FFF_FFFE), "has dimensions"),
        ("llama.attention.key_length", .uint32(0x8000_0000), "a number from 1 to"),
        ("llama.attention.layer_norm_rms_epsilon", .float32(.nan), "layer_norm_rms_epsilon = nan"),
        ("llama.attention.layer_norm_rms_epsilon", .float32(-1), "layer_norm_rms_epsilon = -1.0"),
        ("llama.attention.layer_norm_rms_epsilon", .float32(.infinity), "layer_norm_rms_epsilon = inf"),
        ("llama.attention.layer_norm_rms_epsilon", nil, "layer_norm_rms_epsilon"),
        ("llama.block_count", .uint32(0), "llama.block_count = 0"),
        ("llama.block_count", .uint32(3), "blk.2.attn_norm.weight"),
        ("llama.block_count", .uint32(1), "holds blk.1."),
        ("llama.block_count", .uint32(4097), "llama.block_count = 4097"),
        ("llama.block_count", .uint32(.max), "llama.block_count"),
        ("llama.context_length", .uint32(0), "llama.context_length = 0"),
        ("llama.embedding_length", .uint32(64), "has dimensions"),
        ("llama.embedding_length", .int32(-32), "llama.embedding_length"),
        ("llama.feed_forward_length", .uint32(32), "has dimensions"),
        ("llama.rope.freq_base", .float32(.nan), "llama.rope.freq_base = nan"),
        ("llama.rope.freq_base", .float32(0), "llama.rope.freq_base = 0.0"),
        ("llama.rope.freq_base", .float32(-10_000), "llama.rope.freq_base = -10000.0"),
        ("llama.rope.dimension_count", .uint32(10), "an even number of at most 8"),
        ("llama.rope.dimension_count", .uint32(3), "an even number of at most 8"),
        ("llama.rope.scaling.type", .string("yarn"), "llama.rope.scaling.type = yarn; supported: none, linear"),
        ("llama.rope.scaling.type", .string("linear"), "llama.rope.scaling.factor"),
        ("tokenizer.ggml.model", .string("spm"), "tokenizer"),
        ("tokenizer.ggml.tokens", .strings(["a", "b"]), "tokenizer"),
    ]

    @Test(arguments: contradictions.indices)
    func `is refused where its description makes no sense`(index: Int) {
        let (key, value, says) = Self.contradictions[index]
        var contents = TinyLlama().contents
        contents[key] = value
        expectRefusal(contents, says)
    }

    @Test func `is refused where the value vectors are longer than the keys`() {
        var contents = TinyLlama().contents
        contents["llama.attention.key_length"] = .uint32(8)
        contents["llama.attention.value_length"] = .uint32(16)
        expectRefusal(contents, "llama.attention.value_length = 16; supported: the key's length, 8")
    }

    @Test func `is refused without one of its tensors, which is named`() throws {
        for tensor in TinyLlama().contents.tensors {
            var contents = TinyLlama().contents
            contents[tensor: tensor.name] = nil
            expectRefusal(contents, "lacks \(tensor.name)")
        }
    }

    @Test func `is refused with a tensor too many, which is named`() {
        var contents = TinyLlama().contents
        contents[tensor: "blk.0.attn_q.bias"] = GGUFContents.Tensor(
            "blk.0.attn_q.bias", dimensions: [32], [Float](repeating: 0, count: 32))
        expectRefusal(contents, "holds blk.0.attn_q.bias, which this model does not use")
    }

    @Test func `is refused with a tensor of another shape, which is named`() throws {
        for tensor in TinyLlama().contents.tensors where tensor.name != "token_embd.weight" {
            var contents = TinyLlama().contents
            var changed = tensor
            changed.dimensions =
                tensor.dimensions.count == 1 ? [16, 2] : [tensor.dimensions[0] * 2] + [tensor.dimensions[1] / 2]
            contents[tensor: tensor.name] = changed
            expectRefusal(contents, "'\(tensor.name)'")
        }
        var contents = TinyLlama().contents
        contents[tensor: "token_embd.weight"]?.dimensions = [TinyLlama().tokens.count * 32]
        expectRefusal(contents, "token_embd.weight")
    }

    @Test func `is refused with rotary divisors that make no sense`() {
        for divisors: [Float] in [[1, 1, 0, 1], [1, -1, 1, 1], [.nan, 1, 1, 1], [.infinity, 1, 1, 1], [1, 1, 1]] {
            var contents = TinyLlama().contents
            contents[tensor: "rope_freqs.weight"] = GGUFContents.Tensor(
                "rope_freqs.weight", dimensions: [divisors.count], divisors)
            expectRefusal(contents, "rope_freqs.weight")
        }
    }

    @Test func `is refused where vocabulary and embedding differ in size`() {
        var tiny = TinyLlama()
        let embedding = tiny.contents[tensor: "token_embd.weight"]
        tiny.merges.removeLast()
        var contents = tiny.contents
        contents[tensor: "token_embd.weight"] = embedding
        expectRefusal(contents, "the number of tokens = \(tiny.tokens.count)")
    }

    @Test func `is refused where the file is not there or is none`() {
        #expect(throws: PretrainedModelError.self) { try LanguageModel(path: "/absent/model.gguf") }
        #expect(throws: PretrainedModelError.self) { try LanguageModel(path: "/") }
    }

    private func expectRefusal(
        _ contents: GGUFContents, _ says: String, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let error = #expect(throws: PretrainedModelError.self, sourceLocation: sourceLocation) {
            try LanguageModel(contents.file())
        }
        let description = error?.description ?? ""
        #expect(description.contains(says), "\(description)", sourceLocation: sourceLocation)
        #expect(description.contains("written.gguf"), "\(description)", sourceLocation: sourceLocation)
    }

    // MARK: - Damage

    /// Whatever is damaged, loading ends in a typed error or in a model that can be run.
    @Test func `random damage never ends the program`() throws {
        var tiny = TinyLlama()
        tiny.alphabet = Array(0x20...0x7E)
        tiny.merges = ["h e", "Ġ t", "Ġt he"]
        tiny.alphabet.append(0xA0)
        tiny.type = .q80
        let whole = tiny.contents.bytes
        let headerCount = tiny.contents.header.count
        var generator = SeededGenerator(seed: 20_260)
        var (refused, run) = (0, 0)
        for round in 0..<2000 {
            let range = round % 4 == 0 ? 0..<whole.count : 0..<headerCount
            let bytes = generator.mutation(of: whole, in: range)
            do throws(PretrainedModelError) {
                let file: GGUFFile
                do {
                    file = try GGUFFile(MappedFile(bytes: bytes))
                } catch {
                    throw .unreadableFile(error)
                }
                let model = try LanguageModel(file)
                #expect(model.greedyContinuation(of: [0], maximumCount: 2).count > 0)
                run += 1
            } catch {
                #expect(!error.description.isEmpty)
                refused += 1
            }
        }
        // Both happen, or the test does not test what it says.
        #expect(refused > 200)
        #expect(run > 100)
    }

    @Test func `a file cut off anywhere is refused`() throws {
        let contents = TinyLlama().contents
        let bytes = contents.bytes
        var generator = SeededGenerator(seed: 7)
        for _ in 0..<300 {
            let count = Int.random(in: 0..<bytes.count - 32, using: &generator)
            #expect(throws: GGUFError.self) { try GGUFFile(MappedFile(bytes: Array(bytes[..<count]))) }
        }
    }
}
