import Attention
import AttentionInspection
import Foundation
import PretrainedModels
import SequenceModels
import Testing

/// A similarity of one's own: minus the cube of the Minkowski distance of order 3.
struct Minkowski: Similarity {
    func score<Scalar: AttentionScalar>(query: Span<Scalar>, key: Span<Scalar>) -> Scalar {
        var sum: Scalar = 0
        for index in query.indices {
            let difference = abs(query[index] - key[index])
            sum += difference * difference * difference
        }
        return -sum
    }
}

/// The README's Swift, word by word: what it shows compiles, runs and gives what it says.
@Suite struct `README` {
    @Test func `the operator`() {
        // [batch, heads, length, dimension]
        let queries = Tensor([1, 0, 0, 1] as [Float], shape: [1, 1, 2, 2])
        let keys = Tensor([1, 0, 0, 1] as [Float], shape: [1, 1, 2, 2])
        let values = Tensor([10, 20, 30, 40] as [Float], shape: [1, 1, 2, 2])

        let output = attention(queries: queries, keys: keys, values: values, mask: .causal(offset: 0))
        print(output.floats)  // [10.0, 20.0, 23.395…, 33.395…]: the first query sees one key, the second both

        let share = 1 / (1 + exp(1 / 2.0.squareRoot()))
        expectNear(output, [10, 20, 10 * share + 30 * (1 - share), 20 * share + 40 * (1 - share)])
    }

    @Test func `a similarity, masks and a plan`() {
        let queries = Tensor((0..<1024).map { sin(Float($0)) }, shape: [1, 2, 64, 8])
        let (keys, values) = (queries, queries)

        let closest = attention(queries: queries, keys: keys, values: values, similarity: Minkowski())

        let operation = AttentionOperation(
            similarity: .cosine(temperature: 0.1),
            mask: .causal(offset: 0) & .slidingWindow(left: 16, right: 0) | .prefix(4),
            bias: .alibi(slopes: ScoreBias.alibiSlopes(headCount: 2)), softCap: 30)
        let result = operation(
            queries: queries, keys: keys, values: values,
            returning: AttentionRequest(logSumExp: true, weights: 0..<64))
        print(operation.plan(queries: queries, keys: keys, values: values))

        let reference = AttentionOperation(similarity: Minkowski())
            .reference(queries: queries, keys: keys, values: values)
        expectNear(closest, reference.output.doubles)
        // A NaN is seen, and not taken for a match.
        let poisoned = Tensor([.nan, 0] as [Float], shape: [1, 1, 1, 2])
        let finite = Tensor([1, 0] as [Float], shape: [1, 1, 1, 2])
        let seen = attention(queries: poisoned, keys: finite, values: finite, similarity: Minkowski())
        #expect(seen.floats.allSatisfy { $0.isNaN })
        // The mask that was meant: & binds more tightly than |, and hidden keys have no weight at all.
        for query in 0..<64 {
            for key in 0..<64 {
                let isVisible = key <= query && query - key <= 16 || key < 4
                #expect(((result.weights?[0, 1, query, key] ?? -1) > 0) == isVisible)
            }
        }
        #expect(result.logSumExp?.shape == [1, 2, 64])
        #expect(
            operation.plan(queries: queries, keys: keys, values: values).description.contains(KernelInfo.name))
    }

    @Test func `gradients of a layer, and a step of a model`() throws {
        var random = RandomStream(seed: 1)
        let inputs = random.uniform([4, 3], bound: 1)
        let layer = Linear(inputDimension: 3, outputDimension: 2, random: &random).tracked()
        let loss = crossEntropy(layer(inputs), targets: [0, 1, 1, 0])
        let gradients = loss.gradients(of: layer.parameters.map(\.value))

        let tokens = (0..<1000).map { $0 * $0 % 32 }
        let body = LSTM(inputDimension: 16, hiddenDimension: 16, random: &random)
        let predictor = TokenPredictor(vocabularySize: 32, body: body, random: &random)
        let text = BatchSampler(
            .text(tokens), batchSize: 4, length: 8, hasEncoder: false, endToken: 0, seed: 1)
        var trainer = Trainer(predictor, plan: TrainingPlan(learningRate: 0.01))
        let report = try trainer.step(from: text, progress: 0.5)
        print(report.loss)  // about ln 32 = 3.47: nothing is learned yet

        #expect(gradients.map(\.shape) == [[2, 3], [2]])
        #expect(gradients[0].floats.contains { $0 != 0 })
        #expect(abs(report.loss - 3.47) < 0.3)
    }

    @Test(.enabled(if: README.hasModel)) func `an explanation`() throws {
        let model = try LanguageModel(path: ModelLocator().path(of: nil))
        let explanation = try model.explanation(of: "The FBI is chasing", target: .word("chasing"))
        for word in explanation.words {
            print(word.text, word.attention ?? .nan, word.contribution ?? .nan, word.effect ?? .nan)
        }
        print(explanation.nextWords[0].text)  // " a"

        #expect(explanation.nextWords[0].text == " a")
        #expect(explanation.words.map(\.text) == ["The", "FBI", "is", "chasing"])
    }

    // MARK: - The page itself

    @Test func `every piece of Swift in the README stands in this file`() throws {
        let source = try String(contentsOfFile: #filePath, encoding: .utf8)
        let snippets = try README.blocks("swift").filter { !$0.contains(".package(") }
        #expect(snippets.count >= 4)
        for snippet in snippets {
            let stands = [0, 8].contains { source.contains(README.indented(snippet, by: $0)) }
            #expect(stands, "The tests lack this: \(snippet)")
        }
    }

    @Test(.enabled(if: README.hasModel)) func `the picture in the README is the model's`() throws {
        let model = try LanguageModel(path: ModelLocator().path(of: nil))
        let picture = try model.explanation(of: "The FBI is chasing", target: .word("chasing")).text()
        let shown = try #require(README.blocks("text").first)
        #expect(README.fields(of: shown) == README.fields(of: picture))
        // Instruction sets round differently: the last digit shown may be another.
        for (one, other) in zip(README.figures(of: shown), README.figures(of: picture)) {
            #expect(abs(one - other) < 0.11, "The README shows \(one), the model \(other).")
        }
    }

    private static let hasModel =
        ProcessInfo.processInfo.environment["ATTENTION_REQUIRE_MODELS"] == "1"
        || (try? ModelLocator().path(of: nil)) != nil

    private func expectNear(_ tensor: Tensor, _ expected: [Double]) {
        #expect(tensor.elementCount == expected.count)
        for (one, other) in zip(tensor.doubles, expected) { #expect(abs(one - other) < 1e-4) }
    }

    /// The README's code blocks of a language, without their fences.
    private static func blocks(_ language: String) throws -> [String] {
        let readme = URL(filePath: #filePath).appending(path: "../../../README.md").standardized
        let text = try String(contentsOf: readme, encoding: .utf8)
        return text.components(separatedBy: "```\(language)\n").dropFirst().map {
            String($0.components(separatedBy: "```")[0])
        }
    }

    private static func indented(_ text: String, by count: Int) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false)
            .map { $0.isEmpty ? "" : String(repeating: " ", count: count) + $0 }.joined(separator: "\n")
    }

    private static func words(of text: String) -> [Substring] {
        text.split(whereSeparator: \.isWhitespace)
    }

    /// The words of a picture that are neither figures nor bars.
    private static func fields(of picture: String) -> [Substring] {
        words(of: picture).filter { Double($0) == nil && !$0.allSatisfy { "█▏▎▍▌▋▊▉".contains($0) } }
    }

    private static func figures(of picture: String) -> [Double] {
        words(of: picture).compactMap { Double($0) }
    }
}
