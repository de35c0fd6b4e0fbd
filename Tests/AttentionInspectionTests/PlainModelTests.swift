import Attention
import AttentionInspection
import Foundation
import ModelFiles
import PretrainedModels
import SequenceModels
import Testing

/// Models without heads, trained for two steps: what is explained of them is what they compute.
@Suite struct `Models without heads` {
    private static let text = String(repeating: "The FBI is chasing a criminal on the run. ", count: 20)

    /// A model of an architecture, in a folder that is removed once it is loaded.
    private static func model(_ change: (inout TrainingRequest) -> Void) throws -> LanguageModel {
        let folder = FileManager.default.temporaryDirectory.path + "/plain-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(folder)/corpus.txt"))
        var request = TrainingRequest()
        request.corpus = ["\(folder)/corpus.txt"]
        (request.width, request.layerCount, request.contextLength, request.stepCount) = (8, 2, 20, 2)
        change(&request)
        var run = try TrainingRun(request, output: "\(folder)/model", isResumed: false)
        _ = try run.run()
        return try LanguageModel(path: "\(folder)/model")
    }

    @Test(arguments: [TextModelConfiguration.Architecture.cnn, .tcn, .rnn, .lstm, .gru, .mingru])
    func `show effect alone`(architecture: TextModelConfiguration.Architecture) throws {
        let model = try Self.model { $0.architecture = architecture }
        let explanation = try model.explanation(of: "The FBI is", target: .word("is"))
        #expect(explanation.words.map(\.text) == ["The", "FBI", "is"])
        for word in explanation.words {
            #expect(word.attention == nil && word.contribution == nil && word.attentionWithoutSink == nil)
            #expect((word.effect ?? -1) >= 0)
        }
        #expect(explanation.alignment == nil && explanation.steps == nil)
        #expect(try explanation.json().contains("\"attention\" : null"))
        #expect(explanation.text().contains("share of the effect"))
        #expect(throws: InspectionError.self) {
            try model.explanation(of: "The FBI is", options: ExplanationOptions(layer: 0, head: 0))
        }
    }

    // The definition, one run at a time.
    @Test func `have the divergence without a word as its effect`() throws {
        let model = try Self.model { $0.architecture = .gru }
        let explanation = try model.explanation(of: "The FBI")
        func effects(_ inner: some SequenceModel) throws -> [Double] {
            let ids = try model.tokenizer.encode("The FBI").map(Int.init)
            let vectors = inner.embed([ids]).unstacked()[0].unstacked()
            func prediction(_ vectors: [Tensor]) -> [Double] {
                var dropout: RandomStream?
                let hidden = inner.hiddenStates(
                    of: EmbeddedBatch(Tensor.stacked(vectors).reshaped(to: [1, ids.count, 8])), source: nil,
                    dropout: &dropout)
                let logits = inner.logits(of: hidden).unstacked()[0].unstacked()[ids.count - 1].doubles
                let total = logits.reduce(0) { $0 + exp($1) }
                return logits.map { exp($0) / total }
            }
            let whole = prediction(vectors)
            return [0..<3, 3..<7].map { word in
                var changed = vectors
                for place in word { changed[place] = inner.meanVector }
                return zip(whole, prediction(changed)).reduce(0) { $0 + $1.0 * log2($1.0 / $1.1) }
            }
        }
        for (word, expected) in zip(explanation.words, try effects(model.model)) {
            #expect(abs((word.effect ?? .nan) - expected) < 1e-5)
        }
    }

    @Test func `show an LSTMN's attention to earlier words`() throws {
        let model = try Self.model { $0.architecture = .lstmn }
        let explanation = try model.explanation(of: "The FBI is")
        let total = explanation.words.reduce(0) { $0 + ($1.attention ?? .nan) }
        #expect(abs(total - 1) < 1e-5)
        #expect(explanation.words.allSatisfy { $0.contribution == nil && $0.effect != nil })
        let attending = try #require(model.model as? any AttendingModel)
        func rows(_ inner: some AttendingModel) throws -> [[Double]] {
            let ids = try model.tokenizer.encode("The FBI is").map(Int.init)
            return inner.attentionWeights(of: EmbeddedBatch(inner.embed([ids]))).flatMap { layer in
                (7..<10).map { Array(layer.doubles[$0 * ids.count..<($0 + 1) * ids.count]) }
            }
        }
        let weights = try rows(attending)
        let first = weights.reduce(0) { $0 + $1[0..<3].reduce(0, +) } / Double(weights.count)
        #expect(abs((explanation.words[0].attention ?? .nan) - first) < 1e-6)
    }

    @Test(arguments: TextModelConfiguration.EncoderAttention.allCases)
    func `show an encoder–decoder's alignment`(attention: TextModelConfiguration.EncoderAttention) throws {
        let model = try Self.model {
            $0.architecture = .seq2seq
            $0.attention = attention
        }
        let explanation = try model.explanation(of: "The FBI is")
        if attention == .none {
            #expect(explanation.alignment == nil && explanation.words[0].attention == nil)
        } else {
            let alignment = try #require(explanation.alignment)
            #expect(alignment.read.joined() == "The FBI is")
            #expect(alignment.weights.count == alignment.written.count && !alignment.written.isEmpty)
            for row in alignment.weights {
                #expect(row.count == 10)
                // What a window cuts off is lost.
                let sum = row.reduce(0, +)
                #expect(attention == .local ? 0..<1.00001 ~= sum : abs(sum - 1) < 1e-5)
            }
            let total = explanation.words.reduce(0) { $0 + ($1.attention ?? .nan) }
            #expect(abs(total - (alignment.weights.first?.reduce(0, +) ?? .nan)) < 1e-6)
        }
        #expect(explanation.words.allSatisfy { ($0.effect ?? -1) >= 0 })
        #expect(throws: InspectionError.self) { try model.explanation(of: "The FBI is", target: .word("FBI")) }
    }
}
