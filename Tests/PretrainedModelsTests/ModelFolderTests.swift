import Attention
import Foundation
import ModelFiles
import SequenceModels
import TestSupport
import Testing

@testable import PretrainedModels

@Suite struct `Model folders` {
    private let folder: TrainingFolder

    init() throws {
        folder = try TrainingFolder()
        try FileManager.default.createDirectory(atPath: folder.output, withIntermediateDirectories: true)
    }

    /// 9 characters, the unknown one and the end.
    private static func tokenizer() throws -> CharacterTokenizer { try CharacterTokenizer(texts: ["abcdefgh "]) }

    static let architectures =
        TextModelConfiguration.Architecture.allCases.map { configuration($0) }
        + TextModelConfiguration.EncoderAttention.allCases.map { configuration(.seq2seq, attention: $0) }

    static let configurations =
        architectures
        + SimilarityKind.allCases.flatMap {
            [configuration(.transformer, similarity: $0), configuration(.seq2seq, attention: .luong, similarity: $0)]
        }

    private static func configuration(
        _ architecture: TextModelConfiguration.Architecture, attention: TextModelConfiguration.EncoderAttention? = nil,
        similarity: SimilarityKind? = nil
    ) -> TextModelConfiguration {
        TextModelConfiguration(
            architecture, vocabularySize: 11, width: 6, layerCount: 2, contextLength: 8,
            headCount: architecture == .transformer ? 3 : nil, attention: attention, similarity: similarity,
            dropoutRate: 0.125)
    }

    /// Writes a folder as training does, and returns its model.
    @discardableResult
    private func write(
        _ configuration: TextModelConfiguration, _ prompting: LanguageModel.Prompting = .text
    ) throws -> any SequenceModel {
        var random = RandomStream(seed: 2)
        let model = configuration.model(random: &random)
        let place = ModelFolder(path: folder.output)
        try folder.write(
            place.descriptionPath, try ModelDescription(configuration, prompting: prompting).json.serialized())
        try TokenizerFile.write(try Self.tokenizer(), to: place.tokenizerPath)
        try SafetensorsFile.write(tensors: ParameterFile.tensors(model.parameters), to: place.parametersPath)
        return model
    }

    @Test(arguments: configurations)
    func `give the model that was written, bit for bit`(configuration: TextModelConfiguration) throws {
        func logits(_ model: some SequenceModel) -> [UInt32] {
            let source = model.readsSource ? TokenBatch([[1, 2, 3], [4]]) : nil
            return model.nextTokenLogits(for: TokenBatch([[5, 6, 7, 8], [0, 10, 9, 3]]), source: source).floats
                .map(\.bitPattern)
        }
        let model = try write(configuration, .pairs)
        let loaded = try LanguageModel(path: folder.output)
        #expect(logits(loaded.model) == logits(model))
        #expect(loaded.model.parameters.map(\.name) == model.parameters.map(\.name))
        #expect(loaded.prompting == .pairs && loaded.name == "run" && loaded.path == folder.output)
        #expect((loaded.transformer != nil) == (configuration.architecture == .transformer))
        let description = try ModelFolder(path: folder.output).readDescription(parameterByteCount: 1 << 20)
        #expect(description == ModelDescription(configuration, prompting: .pairs))
        #expect(try ModelLocator(environment: [:]).path(of: folder.output) == folder.output)
    }

    @Test func `hold no more tokens than the tokenizer has`() throws {
        try write(Self.configuration(.gru))
        try TokenizerFile.write(CharacterTokenizer(texts: ["abc"]), to: "\(folder.output)/tokenizer.json")
        do throws(PretrainedModelError) {
            _ = try LanguageModel(path: folder.output)
            Issue.record("Tokens without vectors were taken.")
        } catch {
            guard case .invalidConfiguration(_, "vocabularySize", "11", let wanted) = error else {
                Issue.record(error)
                return
            }
            #expect(wanted.hasPrefix("5, as '"))
        }
    }

    // MARK: - Damage

    @Test func `that lack a file are named with it`() throws {
        try write(Self.configuration(.lstm))
        for name in ["tokenizer.json", "model.safetensors"] {
            let bytes = try folder.bytes(name)
            try folder.remove(name)
            do throws(PretrainedModelError) {
                _ = try LanguageModel(path: folder.output)
                Issue.record("\(name) is missing, and nothing was said.")
            } catch {
                #expect(error.description.contains(name))
            }
            try folder.write("run/\(name)", bytes)
        }
        try folder.remove("config.json")
        do throws(PretrainedModelError) {
            _ = try ModelLocator(environment: [:]).path(of: folder.output)
            Issue.record("A folder without config.json was taken for a model.")
        } catch {
            guard case .ambiguousFolder(folder.output, []) = error else {
                Issue.record(error)
                return
            }
        }
    }

    @Test(arguments: ["config.json", "tokenizer.json", "model.safetensors"])
    func `that are cut short anywhere are told apart from whole ones`(name: String) throws {
        try write(Self.configuration(.lstm))
        let whole = try folder.bytes(name)
        let end = name.hasSuffix(".json") ? whole.count - 1 : whole.count
        for count in stride(from: 0, to: end, by: max(1, end / 61)) {
            try folder.write("run/\(name)", Array(whole.prefix(count)))
            do throws(PretrainedModelError) {
                _ = try LanguageModel(path: folder.output)
                Issue.record("\(name) with \(count) of \(whole.count) bytes was taken.")
            } catch {
                #expect(error.description.contains(name))
            }
        }
    }

    @Test(arguments: [.transformer, .seq2seq] as [TextModelConfiguration.Architecture])
    func `that are damaged anyhow never bring the program down`(
        architecture: TextModelConfiguration.Architecture
    ) throws {
        try write(Self.configuration(architecture))
        var generator = SeededGenerator(seed: 17)
        var usableCount = 0
        for name in ["config.json", "tokenizer.json", "model.safetensors"] {
            let whole = try folder.bytes(name)
            // Of the parameters, what says where they are.
            let range = 0..<min(whole.count, 1200)
            for _ in 0..<200 {
                try folder.write("run/\(name)", generator.mutation(of: whole, in: range))
                do throws(PretrainedModelError) {
                    let model = try LanguageModel(path: folder.output)
                    usableCount += 1
                    // What is taken can be used.
                    guard let tokens = try? model.promptTokens(of: "abc"), !tokens.isEmpty else { continue }
                    _ = model.greedyContinuation(of: tokens, maximumCount: 2)
                } catch {
                    #expect(!error.description.isEmpty)
                }
            }
            try folder.write("run/\(name)", whole)
        }
        #expect(usableCount > 0, "Nothing was left to be used.")
    }

    @Test func `that claim more than their parameters hold are refused before anything is made`() throws {
        for architecture in [.transformer, .gru] as [TextModelConfiguration.Architecture] {
            try write(Self.configuration(architecture))
            let whole = String(decoding: try folder.bytes("config.json"), as: UTF8.self)
            var lies = [
                ("\"width\":6", "\"width\":65536"), ("\"vocabularySize\":11", "\"vocabularySize\":16777216"),
                ("\"layerCount\":2", "\"layerCount\":1024"),
            ]
            if architecture == .transformer {
                lies.append(("\"contextLength\":8", "\"contextLength\":1048576"))
            }
            for (old, new) in lies {
                let lie = whole.replacing(old, with: new)
                #expect(lie != whole)
                try folder.write("run/config.json", lie)
                do throws(PretrainedModelError) {
                    _ = try LanguageModel(path: folder.output)
                    Issue.record("\(new) was believed.")
                } catch {
                    guard case .invalidConfiguration = error else {
                        Issue.record("\(new): \(error)")
                        continue
                    }
                }
            }
        }
    }

    @Test func `of another program, or another time, are refused by what differs`() throws {
        try write(Self.configuration(.gru))
        let whole = String(decoding: try folder.bytes("config.json"), as: UTF8.self)
        for (key, old, new) in [
            ("format", "\"swift-attention\"", "\"llama\""), ("version", "\"version\":1", "\"version\":2"),
            ("architecture", "\"gru\"", "\"grue\""), ("width", "\"width\":6", "\"width\":0"),
            ("width", "\"width\":6", "\"width\":-6"), ("width", "\"width\":6", "\"width\":6.5"),
            ("layerCount", "\"layerCount\":2", "\"layerCount\":1e99"), ("dropoutRate", "0.125", "1"),
            ("dropoutRate", "0.125", "\"x\""), ("learnedFrom", "\"text\"", "\"pictures\""),
            ("attention", "\"attention\":null", "\"attention\":\"flash\""),
        ] {
            let other = whole.replacing(old, with: new)
            #expect(other != whole, "\(old)")
            try folder.write("run/config.json", other)
            do throws(PretrainedModelError) {
                _ = try LanguageModel(path: folder.output)
                Issue.record("\(new) was taken.")
            } catch {
                guard case .invalidConfiguration("\(folder.output)/config.json", key, _, _) = error else {
                    Issue.record("\(new): \(error)")
                    continue
                }
            }
        }
        try folder.write("run/config.json", whole.replacing("\"attention\":null", with: "\"attention\":\"luong\""))
        #expect(throws: PretrainedModelError.self) { try LanguageModel(path: folder.output) }
    }

    @Test func `with the parameters of another model name them`() throws {
        try write(Self.configuration(.lstm))
        let parameters = try folder.bytes("model.safetensors")
        try write(Self.configuration(.gru))
        try folder.write("run/model.safetensors", parameters)
        do throws(PretrainedModelError) {
            _ = try LanguageModel(path: folder.output)
            Issue.record("An LSTM's parameters were taken for a GRU's.")
        } catch {
            guard case .wrongShape(_, let name, let found, let wanted) = error else {
                Issue.record(error)
                return
            }
            #expect(name.hasSuffix("weight_ih_l0") && found == [24, 6] && wanted == [18, 6])
        }
        try write(Self.configuration(.cnn))
        try folder.write("run/model.safetensors", parameters)
        do throws(PretrainedModelError) {
            _ = try LanguageModel(path: folder.output)
            Issue.record("An LSTM's parameters were taken for a CNN's.")
        } catch {
            guard case .wrongTensors(_, let missing, let unexpected) = error else {
                Issue.record(error)
                return
            }
            #expect(!missing.isEmpty && unexpected.contains { $0.hasSuffix("weight_hh_l0") })
        }
    }

    // MARK: - Writing on

    @Test func `write on as long as there are positions`() throws {
        try write(Self.configuration(.transformer))
        let model = try LanguageModel(path: folder.output)
        var sampler = TokenSampler(temperature: 3, seed: 4)
        func count(after length: Int) -> Int {
            var count = 0
            model.continuation(
                of: [Int32](repeating: 1, count: length), maximumCount: 20, sampler: &sampler, chunkLength: 3
            ) { token in
                count += 1
                return true
            }
            return count
        }
        // 8 positions: after 5 tokens 4 are predicted, the last of which need not be read. It may end before.
        #expect((1...4).contains(count(after: 5)))
        #expect(count(after: 8) == 1)
        #expect(count(after: 9) == 0 && count(after: 100) == 0)
    }

    @Test(arguments: architectures)
    func `continue by the same predictions as a whole pass makes`(configuration: TextModelConfiguration) throws {
        for prompting in LanguageModel.Prompting.allCases {
            try write(configuration, prompting)
            let model = try LanguageModel(path: folder.output)
            func check(_ inner: some SequenceModel) {
                let prompt = [1, 4, 2]
                let written = model.greedyContinuation(of: prompt.map(Int32.init), maximumCount: 4, chunkLength: 2)
                    .map(Int.init)
                let end = 10
                // As it was trained: see BatchSampler.
                let start =
                    prompting == .pairs
                    ? (inner.readsSource ? [end] : prompt + [end]) : inner.readsSource ? [2] : prompt
                var read = start
                for token in written {
                    let logits = inner.nextTokenLogits(
                        for: TokenBatch([read]), source: inner.readsSource ? TokenBatch([prompt]) : nil)
                    let last = logits.slice(axis: 1, range: read.count - 1..<read.count).floats
                    // Rounding may decide between equals.
                    #expect(last[token] >= (last.max() ?? 0) - 1e-4)
                    read.append(token)
                }
                #expect(written.count == 4 || written.last == end)
            }
            check(model.model)
        }
    }

    @Test func `whose checkpoints are all damaged are refused in whole sentences`() {
        let reason = CheckpointError.missingFile(path: "model.safetensors").description
        let message = PretrainedModelError.unreadableFolder(path: "run", reason: reason).description
        #expect(message.hasPrefix("'run' cannot be used: ") && message.hasSuffix(".") && !message.contains(".."))
    }
}
