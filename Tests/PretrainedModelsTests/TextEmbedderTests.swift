import Attention
import Foundation
import ModelFiles
import PretrainedModels
import SequenceModels
import TestSupport
import Testing

/// Where results are computed by the tokens of a sequence, whatever is beside it, and by how many threads: one at a time.
private let texts = [
    "the cat", "", "abc", "a much longer text that has to be cut", "the cat", "z", "x y z", "the the the the", "qu",
    "one two", "a b c d e f g h i j", "ba",
]

@Suite(.serialized) struct `A text embedder` {
    private let folder: FolderOfModels

    init() throws { folder = try FolderOfModels() }

    private func embedder(
        pooling: String = "\"pooling_mode_mean_tokens\": true", isNormalized: Bool = true,
        elementType: ElementType = .float32, change: (inout TinyBERT) -> Void = { _ in }
    ) throws -> TextEmbedder {
        var tiny = TinyBERT()
        change(&tiny)
        try tiny.write(to: folder.path)
        try tiny.writeSentenceFiles(to: folder.path, pooling: pooling, isNormalized: isNormalized)
        return try TextEmbedder(folder: folder.path, elementType: elementType)
    }

    @Test func `follows the files of its folder`() throws {
        let embedder = try embedder()
        #expect(embedder.poolings == [.mean] && embedder.isNormalized)
        #expect(embedder.maximumTokenCount == 12 && embedder.dimension == 24 && embedder.prompt == "")
        #expect(try embedder.tokens(of: "").count == 2)
        #expect(try embedder.tokens(of: "the a") == [2, 36, 5, 3])
        let long = try embedder.tokens(of: texts[3])
        #expect(long.count == 12 && long.first == 2 && long.last == 3)
        // Special tokens in a text are plain text.
        #expect(try !embedder.tokens(of: "[MASK]").contains(4))
    }

    @Test(arguments: [
        ("pooling_mode_cls_token", [TextPooling.cls]), ("pooling_mode_max_tokens", [.max]),
        ("pooling_mode_mean_sqrt_len_tokens", [.meanSquareRootLength]), ("pooling_mode_lasttoken", [.last]),
        ("pooling_mode_weightedmean_tokens", [.weightedMean]), ("pooling_mode_mean_tokens", [.mean]),
        ("pooling_mode_mean_tokens\": true, \"pooling_mode_cls_token", [.cls, .mean]),
    ])
    func `pools as its configuration says`(key: String, poolings: [TextPooling]) throws {
        let embedder = try embedder(pooling: "\"\(key)\": true", isNormalized: false)
        #expect(embedder.poolings == poolings && embedder.dimension == 24 * poolings.count)
        let model = embedder.encoder.transformer
        for text in texts {
            let tokens = try embedder.tokens(of: text).map(Int.init)
            let vectors = model.hiddenStates(of: model.embed([tokens])).floats.map(Double.init)
            var expected: [Float] = []
            for pooling in poolings {
                for column in 0..<24 {
                    let numbers: [Double] = tokens.indices.map { vectors[$0 * 24 + column] }
                    expected.append(Float(pooled(numbers, by: pooling)))
                }
            }
            #expect(largestDifference(try embedder.embedding(of: text), expected) < 2e-5)
        }
    }

    private func pooled(_ numbers: [Double], by pooling: TextPooling) -> Double {
        let count = Double(numbers.count)
        let sum = numbers.reduce(0, +)
        switch pooling {
        case .cls: return numbers[0]
        case .last: return numbers[numbers.count - 1]
        case .max: return numbers.max() ?? 0
        case .mean: return sum / count
        case .meanSquareRootLength: return sum / count.squareRoot()
        case .weightedMean:
            var weighted = 0.0
            for (index, number) in numbers.enumerated() { weighted += Double(index + 1) * number }
            return weighted / (count * (count + 1) / 2)
        }
    }

    @Test(arguments: [ElementType.float32, .bfloat16])
    func `gives a text the same bits in every batch, and with any number of threads`(elementType: ElementType) throws {
        let embedder = try embedder(elementType: elementType)
        let alone = try texts.map { try embedder.embedding(of: $0) }
        let threadCount = ComputeThreads.count
        defer { ComputeThreads.count = threadCount }
        for count in [1, 2, 5] {
            ComputeThreads.count = count
            let together = try embedder.embeddings(of: texts)
            #expect(together.shape == [texts.count, 24])
            #expect(together.floats == alone.flatMap { $0 })
            let reversed = try embedder.embeddings(of: (texts + texts).reversed())
            #expect(reversed.slice(axis: 0, range: 0..<texts.count).floats == alone.reversed().flatMap { $0 })
        }
        #expect(alone[0] == alone[4] && alone[0] != alone[2])
        for vector in alone { #expect(abs(vector.reduce(0) { $0 + $1 * $1 } - 1) < 1e-5) }
    }

    // The pass over all texts at once, and operation by operation.
    @Test(arguments: ["gelu", "relu", "gelu_new"])
    func `computes what the model computes`(activation: String) throws {
        let embedder = try embedder { $0.configuration["hidden_act"] = "\"\(activation)\"" }
        let model = embedder.encoder.transformer
        let sequences = try texts.map { try embedder.tokens(of: $0).map(Int.init) }
        let expected = sequences.flatMap { model.hiddenStates(of: model.embed([$0])).floats }
        #expect(largestDifference(embedder.encoder(sequences).floats, expected) < 1e-5)
        let rounded = SequenceEncoder(model, elementType: .bfloat16)(sequences)
        #expect(rounded.elementType == .float32)
        #expect(largestDifference(rounded.floats, expected) < 0.15)
        #expect(embedder.encoder([]).shape == [0, 24])
        #expect(embedder.encoder([[], [3], []]).floats == embedder.encoder([[3]]).floats)
    }

    @Test func `takes a model that is not in the manner of BERT operation by operation`() throws {
        var random = RandomStream(seed: 3)
        let model = Transformer(
            configuration: TransformerConfiguration(
                modelDimension: 24, layerCount: 2, headCount: 3, vocabularySize: 37, contextLength: 20,
                isCausal: false), random: &random)
        let sequences = [[1, 2, 3], [4, 5, 6], [7], [], [8, 9]]
        for type in [ElementType.float32, .bfloat16] {
            let encoder = SequenceEncoder(model, elementType: type)
            let expected = sequences.filter { !$0.isEmpty }.flatMap {
                encoder.transformer.hiddenStates(of: encoder.transformer.embed([$0])).floats
            }
            #expect(encoder(sequences).floats == expected)
        }
    }

    @Test func `has vectors of zeros for texts without tokens`() throws {
        let embedder = try embedder()
        #expect(embedder.embeddings(ofTokens: [[], []]).floats == [Float](repeating: 0, count: 48))
        #expect(embedder.embeddings(ofTokens: []).shape == [0, 24])
    }

    @Test func `averages where a folder says nothing`() throws {
        let normalized = try embedder(isNormalized: true).embedding(of: "abc")
        try FileManager.default.removeItem(atPath: "\(folder.path)/modules.json")
        try FileManager.default.removeItem(atPath: "\(folder.path)/sentence_bert_config.json")
        let plain = try TextEmbedder(folder: folder.path)
        #expect(plain.poolings == [.mean] && !plain.isNormalized && plain.maximumTokenCount == 20)
        let vector = try plain.embedding(of: "abc")
        let length = vector.reduce(0) { $0 + $1 * $1 }.squareRoot()
        #expect(largestDifference(vector.map { $0 / length }, normalized) < 1e-6)
    }

    @Test func `puts the default prompt before each text`() throws {
        let plain = try embedder()
        try folder.write(
            "config_sentence_transformers.json",
            "{\"prompts\": {\"query\": \"the \", \"none\": \"\"}, \"default_prompt_name\": \"query\"}")
        let prompted = try TextEmbedder(folder: folder.path)
        #expect(prompted.prompt == "the ")
        #expect(try prompted.embedding(of: "cat") == plain.embedding(of: "the cat"))
    }

    // MARK: - Files that are wrong

    @Test(arguments: [
        ("modules.json", "{"), ("modules.json", "{}"), ("modules.json", "[]"), ("modules.json", "[{}]"),
        ("modules.json", #"[{"type": "a.Transformer", "path": "../other"}]"#),
        ("modules.json", #"[{"type": "a.Transformer", "path": "/etc"}]"#),
        ("modules.json", #"[{"type": "a.Transformer", "path": ""}, {"type": "a.Dense", "path": "2"}]"#),
        ("modules.json", #"[{"type": "a.Pooling", "path": ""}]"#),
        ("modules.json", #"[{"type": "a.Transformer", "path": "a\u0000b"}]"#),
        ("1_Pooling/config.json", "{}"), ("1_Pooling/config.json", "[]"),
        ("1_Pooling/config.json", #"{"word_embedding_dimension": 25, "pooling_mode_mean_tokens": true}"#),
        ("1_Pooling/config.json", #"{"pooling_mode_mean_tokens": "yes"}"#),
        ("1_Pooling/config.json", #"{"pooling_mode_mean_tokens": true, "pooling_mode_other": true}"#),
        ("1_Pooling/config.json", #"{"pooling_mode": "other"}"#),
        ("1_Pooling/config.json", #"{"pooling_mode": "mean", "include_prompt": false}"#),
        ("sentence_bert_config.json", #"{"max_seq_length": 0}"#),
        ("sentence_bert_config.json", #"{"max_seq_length": 1}"#),
        ("sentence_bert_config.json", #"{"max_seq_length": 1e300}"#),
        ("sentence_bert_config.json", #"{"max_seq_length": -5}"#),
        ("sentence_bert_config.json", #"{"do_lower_case": true}"#), ("sentence_bert_config.json", "nothing"),
        ("config_sentence_transformers.json", #"{"default_prompt_name": "absent"}"#),
        ("config_sentence_transformers.json", #"{"default_prompt_name": 3}"#),
        ("vocab.txt", "[UNK]\n"), ("config.json", "{}"),
    ])
    func `refuses what makes no sense`(name: String, text: String) throws {
        _ = try embedder()
        try folder.write(name, text)
        #expect(throws: PretrainedModelError.self) { try TextEmbedder(folder: folder.path) }
    }

    @Test func `refuses a tokenizer with more tokens than the model has`() throws {
        _ = try embedder()
        let more = (0..<38).map { "w\($0)" }.joined(separator: "\n")
        try folder.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n\(more)\n")
        #expect(throws: PretrainedModelError.self) { try TextEmbedder(folder: folder.path) }
    }
}

/// The real model against Python, on every reference sentence that there is.
@Suite(.serialized, .enabled(if: MiniLM.isTested, "MiniLM's folder is absent"))
struct `MiniLM's embeddings agree with Python's` {
    private static let exact = Result { try TextEmbedder(folder: MiniLM.path) }
    private static let rounded = Result { try TextEmbedder(folder: MiniLM.path, elementType: .bfloat16) }

    private func cosine(_ left: [Float], _ right: [Float]) -> Double {
        func product(_ a: [Float], _ b: [Float]) -> Double { zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) } }
        return product(left, right) / (product(left, left) * product(right, right)).squareRoot()
    }

    @Test func `in every number`() throws {
        let (embedder, sentences) = (try Self.exact.get(), try ReferenceSentence.all())
        #expect(embedder.maximumTokenCount == 256 && embedder.poolings == [.mean] && embedder.isNormalized)
        #expect(sentences.contains { $0.text.isEmpty } && sentences.contains { $0.tokenIDs.count == 256 })
        let vectors = try embedder.embeddings(of: sentences.map(\.text))
        for (index, sentence) in sentences.enumerated() {
            #expect(try embedder.tokens(of: sentence.text) == sentence.tokenIDs, "\(sentence)")
            let vector = vectors.slice(axis: 0, range: index..<index + 1).floats
            #expect(largestDifference(vector, sentence.embedding) < 1e-5, "\(sentence)")
            #expect(cosine(vector, sentence.embedding) >= 0.99999, "\(sentence)")
            #expect(try embedder.embedding(of: sentence.text) == vector, "\(sentence)")
        }
    }

    @Test func `nearly, where products are of bfloat16`() throws {
        let (embedder, sentences) = (try Self.rounded.get(), try ReferenceSentence.all())
        let vectors = try embedder.embeddings(of: sentences.map(\.text))
        for (index, sentence) in sentences.enumerated() {
            let vector = vectors.slice(axis: 0, range: index..<index + 1).floats
            #expect(cosine(vector, sentence.embedding) >= 0.999, "\(sentence)")
            #expect(try embedder.embedding(of: sentence.text) == vector, "\(sentence)")
        }
    }
}
