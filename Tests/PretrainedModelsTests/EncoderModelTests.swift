import Attention
import Foundation
import ModelFiles
import PretrainedModels
import SequenceModels
import TestSupport
import Testing

/// A folder of the test's own, which goes when the test does.
final class FolderOfModels {
    let path = "\(TestEnvironment.temporaryFolder)/model-tests-\(UUID().uuidString)"

    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ name: String, _ text: String) throws {
        let file = URL(fileURLWithPath: "\(path)/\(name)")
        try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: file)
    }
}

@Suite struct `An encoder from a folder` {
    private let folder: FolderOfModels
    private static let tokens = [[2, 30, 5, 11, 7, 3], [2, 9, 9, 36, 0, 3]]

    init() throws { folder = try FolderOfModels() }

    private func states(_ tiny: TinyBERT, fileCount: Int = 1) throws -> [Float] {
        try tiny.write(to: folder.path, fileCount: fileCount)
        let model = try EncoderModel(folder: folder.path).transformer
        return model.hiddenStates(of: model.embed(Self.tokens)).floats
    }

    private func error(_ tiny: TinyBERT, fileCount: Int = 1) throws -> PretrainedModelError? {
        try tiny.write(to: folder.path, fileCount: fileCount)
        do {
            _ = try EncoderModel(folder: folder.path)
            return nil
        } catch {
            return error
        }
    }

    @Test func `is described by its configuration`() throws {
        try TinyBERT().write(to: folder.path)
        let model = try EncoderModel(folder: folder.path)
        let configuration = model.transformer.configuration
        #expect(configuration.modelDimension == 24 && configuration.layerCount == 2 && configuration.headCount == 3)
        #expect(configuration.feedForwardDimension == 40 && configuration.vocabularySize == 37)
        #expect(configuration.contextLength == 20 && configuration.tokenTypeCount == 2)
        #expect(configuration.hasEmbeddingNorm && !configuration.isCausal && configuration.normPlacement == .after)
        #expect(configuration.norm == .layer(epsilon: 1e-12) && configuration.feedForward == .gelu)
        #expect(model.pooler != nil && model.maskedTokenHead == nil)
        #expect(model.maskedTokenLogits(of: Tensor(zeros: [1, 1, 24])) == nil)
    }

    // One plain computation beside the operations: positions and types are added, then normalised.
    @Test func `adds words, positions and types, and normalises`() throws {
        let tiny = TinyBERT()
        try tiny.write(to: folder.path)
        var model = try EncoderModel(folder: folder.path).transformer
        model.stack.layers = Array(model.layers.prefix(0))
        let configuration = model.configuration
        let words = try #require(tiny[tensor: "embeddings.word_embeddings.weight"])
        let positions = try #require(tiny[tensor: "embeddings.position_embeddings.weight"])
        let types = try #require(tiny[tensor: "embeddings.token_type_embeddings.weight"])
        let weight = try #require(tiny[tensor: "embeddings.LayerNorm.weight"])
        let bias = try #require(tiny[tensor: "embeddings.LayerNorm.bias"])
        func row(_ table: [Float], _ index: Int) -> [Double] { table[index * 24..<(index + 1) * 24].map(Double.init) }
        let tokens = [[2, 30, 5]]
        let tokenTypes = [[0, 1, 1]]
        let actual = model.hiddenStates(of: model.embed(tokens, types: tokenTypes)).floats
        #expect(actual.count == 3 * configuration.modelDimension)
        for position in 0..<3 {
            let sum = (0..<24).map {
                row(words, tokens[0][position])[$0] + row(positions, position)[$0]
                    + row(types, tokenTypes[0][position])[$0]
            }
            let mean = sum.reduce(0, +) / 24
            let variance = sum.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 24
            for column in 0..<24 {
                let expected =
                    (sum[column] - mean) / (variance + 1e-12).squareRoot() * Double(weight[column])
                    + Double(bias[column])
                #expect(abs(Double(actual[position * 24 + column]) - expected) < 1e-5)
            }
        }
        // Tokens are of the first type where nothing is said.
        #expect(model.embed(tokens).floats == model.embed(tokens, types: [[0, 0, 0]]).floats)
    }

    @Test func `reads later tokens as well as earlier ones`() throws {
        try TinyBERT().write(to: folder.path)
        let model = try EncoderModel(folder: folder.path).transformer
        let first = model.hiddenStates(of: model.embed([[2, 30, 5]])).floats
        let second = model.hiddenStates(of: model.embed([[2, 30, 6]])).floats
        #expect(first.prefix(24) != second.prefix(24))
    }

    @Test func `is the same in one file and in several`() throws {
        let tiny = TinyBERT()
        let single = try states(tiny)
        try FileManager.default.removeItem(atPath: folder.path)
        #expect(try states(tiny, fileCount: 3) == single)
        #expect(try EncoderModel(folder: folder.path, mapped: false).pooler != nil)
    }

    @Test(arguments: [SafetensorsFile.ElementType.float16, .bfloat16])
    func `may be stored in halves`(type: SafetensorsFile.ElementType) throws {
        let exact = try states(TinyBERT())
        try TinyBERT().write(to: folder.path, type: type)
        let model = try EncoderModel(folder: folder.path).transformer
        let halves = model.hiddenStates(of: model.embed(Self.tokens)).floats
        #expect(largestDifference(halves, exact) < 0.1 && halves != exact)
    }

    @Test func `has the names of every time`() throws {
        let plain = try states(TinyBERT())
        #expect(try states(TinyBERT(prefix: "bert.")) == plain)
        #expect(try states(TinyBERT(hasPooler: false)) == plain)
        var old = TinyBERT()
        old.rename {
            $0.replacingOccurrences(of: "LayerNorm.weight", with: "LayerNorm.gamma")
                .replacingOccurrences(of: "LayerNorm.bias", with: "LayerNorm.beta")
        }
        #expect(try states(old) == plain)
        var more = TinyBERT(prefix: "bert.")
        more.tensors.append(("cls.seq_relationship.weight", [2, 24], [Float](repeating: 1, count: 48)))
        more.tensors.append(("bert.embeddings.position_ids", [1, 20], [Float](repeating: 1, count: 20)))
        #expect(try states(more) == plain)
    }

    @Test func `of RoBERTa's family begins with the position behind the padding token's`() throws {
        let bert = try states(TinyBERT())
        for type in ["roberta", "xlm-roberta"] {
            var tiny = TinyBERT(prefix: "roberta.")
            tiny.configuration["model_type"] = "\"\(type)\""
            tiny.configuration["pad_token_id"] = "1"
            tiny.configuration["max_position_embeddings"] = "22"
            let name = "roberta.embeddings.position_embeddings.weight"
            let index = try #require(tiny.tensors.firstIndex { $0.name == name })
            tiny.tensors[index].shape = [22, 24]
            tiny.tensors[index].values = [Float](repeating: 9, count: 48) + tiny.tensors[index].values
            #expect(try states(tiny) == bert)
            #expect(try EncoderModel(folder: folder.path).transformer.configuration.contextLength == 20)
        }
    }

    @Test func `predicts masked words where its checkpoint has the head`() throws {
        var tiny = TinyBERT(prefix: "bert.", hasPooler: false)
        tiny.addMaskedTokenHead()
        try tiny.write(to: folder.path)
        let model = try EncoderModel(folder: folder.path)
        let hidden = model.transformer.hiddenStates(of: model.transformer.embed([[2, 4, 3]]))
        let logits = try #require(model.maskedTokenLogits(of: hidden))
        #expect(logits.shape == [1, 3, 37])
        func tensor(_ name: String, _ shape: [Int]) throws -> Tensor {
            Tensor(try #require(tiny[tensor: name]), shape: shape)
        }
        let head = "cls.predictions."
        let transformed = layerNorm(
            gelu(
                linear(
                    hidden, weight: try tensor("\(head)transform.dense.weight", [24, 24]),
                    bias: try tensor("\(head)transform.dense.bias", [24]))),
            weight: try tensor("\(head)transform.LayerNorm.weight", [24]),
            bias: try tensor("\(head)transform.LayerNorm.bias", [24]), epsilon: 1e-12)
        let expected = linear(
            transformed, weight: try tensor("bert.embeddings.word_embeddings.weight", [37, 24]),
            bias: try tensor("\(head)bias", [37]))
        #expect(largestDifference(logits.floats, expected.floats) < 1e-5)
        // The matrix's second name says nothing new; another matrix would.
        let embedding = try #require(tiny[tensor: "bert.embeddings.word_embeddings.weight"])
        tiny.tensors.append(("\(head)decoder.weight", [37, 24], embedding))
        #expect(try error(tiny) == nil)
        tiny[tensor: "\(head)decoder.weight"] = embedding.map { -$0 }
        guard case .unsupportedFeature = try error(tiny) else {
            Issue.record("another matrix was taken")
            return
        }
    }

    // MARK: - Files that are wrong

    @Test func `lists what is missing and what is left over`() throws {
        var tiny = TinyBERT()
        tiny.rename {
            switch $0 {
            case "encoder.layer.1.output.dense.bias": "encoder.layer.2.output.dense.bias"
            case "embeddings.LayerNorm.bias": "other"
            default: $0
            }
        }
        guard case .wrongTensors(_, let missing, let unexpected) = try error(tiny) else {
            Issue.record("other tensors were taken")
            return
        }
        #expect(missing == ["embeddings.LayerNorm.bias", "encoder.layer.1.output.dense.bias"])
        #expect(unexpected == ["encoder.layer.2.output.dense.bias", "other"])
    }

    @Test func `has no two tensors of one name`() throws {
        var tiny = TinyBERT()
        tiny.tensors.append(("embeddings.LayerNorm.gamma", [24], [Float](repeating: 1, count: 24)))
        guard case .wrongTensors(_, _, let unexpected) = try error(tiny) else {
            Issue.record("two of one name were taken")
            return
        }
        #expect(unexpected.count == 1)
    }

    @Test(arguments: [
        "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight", "embeddings.LayerNorm.weight",
        "encoder.layer.0.attention.self.key.weight", "encoder.layer.1.output.dense.bias", "pooler.dense.weight",
    ])
    func `has the shapes of its configuration`(name: String) throws {
        for change in [{ $0.reversed() + [1] }, { [$0[0] + 1] + $0.dropFirst() }, { _ in [0] }] as [([Int]) -> [Int]] {
            var tiny = TinyBERT()
            let index = try #require(tiny.tensors.firstIndex { $0.name == name })
            let shape = change(tiny.tensors[index].shape)
            tiny.tensors[index].shape = shape
            tiny.tensors[index].values = [Float](repeating: 0, count: shape.reduce(1, *))
            guard case .wrongShape(_, name, shape, _) = try error(tiny) else {
                Issue.record("\(name) of \(shape) was taken")
                return
            }
        }
    }

    @Test func `has weights for numbers`() throws {
        try TinyBERT().write(to: folder.path, type: .int32)
        guard
            case .unsupportedFeature = #expect(
                throws: PretrainedModelError.self,
                performing: {
                    try EncoderModel(folder: folder.path)
                })
        else {
            Issue.record("integers were taken for weights")
            return
        }
    }

    @Test func `may hold numbers that are none`() throws {
        var tiny = TinyBERT()
        tiny[tensor: "embeddings.LayerNorm.bias"] = [Float](repeating: .nan, count: 24)
        #expect(try states(tiny).allSatisfy(\.isNaN))
    }

    @Test(arguments: [
        ("hidden_size", "0"), ("hidden_size", "-24"), ("hidden_size", "24.5"), ("hidden_size", "\"24\""),
        ("hidden_size", "9223372036854775807"), ("hidden_size", "1e30"), ("hidden_size", "null"),
        ("hidden_size", "2147483647"), ("num_attention_heads", "0"), ("num_attention_heads", "5"),
        ("num_attention_heads", "2147483647"), ("num_hidden_layers", "0"), ("num_hidden_layers", "4097"),
        ("num_hidden_layers", "4096"), ("num_hidden_layers", "-1"), ("intermediate_size", "2147483647"),
        ("vocab_size", "2147483647"), ("vocab_size", "[]"), ("max_position_embeddings", "2147483647"),
        ("max_position_embeddings", "0"), ("type_vocab_size", "0"), ("type_vocab_size", "2147483647"),
        ("layer_norm_eps", "0"), ("layer_norm_eps", "-1e-5"), ("layer_norm_eps", "{}"), ("hidden_act", "\"mish\""),
        ("hidden_act", "3"), ("model_type", "\"gpt5\""), ("model_type", "7"), ("is_decoder", "true"),
        ("is_decoder", "\"no\""), ("position_embedding_type", "\"relative_key\""), ("pad_token_id", "-1"),
    ])
    func `has no configuration that makes no sense`(key: String, value: String) throws {
        var tiny = TinyBERT()
        tiny.configuration[key] = value
        let message = try #require(try error(tiny)).description
        #expect(!message.isEmpty)
    }

    @Test func `needs its files`() throws {
        func expectFailure() {
            #expect(throws: PretrainedModelError.self) { try EncoderModel(folder: folder.path) }
        }
        expectFailure()
        try folder.write("config.json", "{}")
        expectFailure()
        try TinyBERT().write(to: folder.path)
        try folder.write("config.json", "{\"hidden_size\": NaN}")
        expectFailure()
        try folder.write("config.json", "[]")
        expectFailure()
        try TinyBERT().write(to: folder.path)
        try folder.write("model.safetensors", "no tensors")
        expectFailure()
    }
}

@Suite(.serialized, .enabled(if: MiniLM.isTested, "MiniLM's folder is absent"))
struct `MiniLM agrees with Transformers` {
    private static let model = Result { try EncoderModel(folder: MiniLM.path) }

    @Test(arguments: try ReferenceSentence.all())
    func `on every vector and every attention weight`(sentence: ReferenceSentence) throws {
        let model = try Self.model.get().transformer
        let length = sentence.tokenIDs.count
        let (hidden, trace) = model.trace(
            model.embed([sentence.tokenIDs.map(Int.init)]), recording: TraceRequest(weights: 0..<length))
        if !sentence.lastHiddenStates.isEmpty {
            #expect(largestDifference(hidden.floats, sentence.lastHiddenStates) < 1e-5)
            let weights = trace.layers.flatMap { $0.attentionWeights?.floats ?? [] }
            #expect(largestDifference(weights, sentence.attentionWeights) < 1e-5)
        }
        let sum = hidden.sum(axis: 1).floats.map(Double.init)
        let norm = sum.reduce(0) { $0 + $1 * $1 }.squareRoot()
        #expect(largestDifference(sum.map { Float($0 / norm) }, sentence.embedding) < 1e-6)
    }
}
