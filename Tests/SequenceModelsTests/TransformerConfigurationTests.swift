import Attention
import Foundation
import SequenceModels
import TestSupport
import Testing

/// A configuration under a name that says what is special about it.
struct NamedConfiguration: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let configuration: TransformerConfiguration

    init(_ name: String, _ change: (inout TransformerConfiguration) -> Void) {
        testDescription = name
        var configuration = TransformerConfiguration(
            modelDimension: 10, layerCount: 2, headCount: 2, feedForwardDimension: 7, vocabularySize: 13,
            contextLength: 11, hasBiases: true)
        change(&configuration)
        self.configuration = configuration
    }

    /// Every choice at least once.
    static let causal =
        [
            NamedConfiguration("learned positions") { _ in },
            NamedConfiguration("the paper of 2017") {
                ($0.normPlacement, $0.hasFinalNorm, $0.positions) = (.after, false, .sinusoidal)
                ($0.feedForward, $0.scalesEmbedding, $0.tiesEmbedding) = (.relu, true, false)
            },
            NamedConfiguration("Llama") {
                ($0.norm, $0.feedForward, $0.hasBiases) = (.rms(epsilon: 1e-5), .swiGLU, false)
                ($0.headCount, $0.keyValueHeadCount, $0.headDimension) = (6, 2, 4)
                $0.positions = .rotary(RotaryEmbedding(dimension: 4, base: 100, layout: .half))
            },
            NamedConfiguration("ALiBi") { ($0.positions, $0.feedForward) = (.alibi, .gelu) },
            NamedConfiguration("no positions") { $0.positions = .none },
            NamedConfiguration("an encoder in front") {
                ($0.encoderLayerCount, $0.positions) = (2, .sinusoidal)
            },
            NamedConfiguration("an encoder in front, rotary") {
                $0.encoderLayerCount = 1
                $0.positions = .rotary(RotaryEmbedding(dimension: 2, base: 100, layout: .interleaved))
            },
            NamedConfiguration("an encoder in front, ALiBi, norms after") {
                ($0.encoderLayerCount, $0.positions, $0.normPlacement) = (1, .alibi, .after)
            },
        ]
        + SimilarityKind.allCases.filter { $0 != .scaledDot }.map { kind in
            NamedConfiguration(kind.rawValue) { $0.similarity = kind }
        }

    static let all =
        causal + [
            NamedConfiguration("an encoder") { $0.isCausal = false },
            NamedConfiguration("BERT") {
                ($0.isCausal, $0.normPlacement, $0.hasFinalNorm, $0.feedForward) = (false, .after, false, .gelu)
                ($0.hasEmbeddingNorm, $0.tokenTypeCount) = (true, 2)
            },
            NamedConfiguration("an encoder, rotary") {
                ($0.isCausal, $0.norm) = (false, .rms(epsilon: 1e-4))
                $0.positions = .rotary(RotaryEmbedding(dimension: 4, layout: .half))
            },
        ]

    /// A model of it whose every parameter is random, so that none is 0 or 1 by accident.
    func model(elementType: ElementType = .float32, bound: Double = 0.6) -> Transformer {
        var random = RandomStream(seed: 3)
        let model = Transformer(configuration: configuration, random: &random)
        var generator = SeededGenerator(seed: 4)
        return model.replacingParameters(
            with: model.parameters.map { name, value in
                // The temperature's stays: the derivative is large where it is low.
                name.hasSuffix("logit")
                    ? value.converted(to: elementType)
                    : generator.tensor(value.shape, bound: bound).converted(to: elementType)
            })
    }
}

@Suite struct `Every configuration of the Transformer` {
    private static let tokens = [[3, 5, 0, 7, 11, 2, 5, 9], [12, 1, 1, 4, 6, 10, 8, 3]]
    private static let source = TokenBatch([[4, 1, 9, 9, 2], [7, 3, 11]])

    private func source(of model: Transformer) -> EmbeddedBatch? {
        model.readsSource
            ? EmbeddedBatch(model.embed(Self.source.tokens), lengths: Self.source.lengths) : nil
    }

    private func hiddenStates(
        _ model: Transformer, _ tokens: [[Int]], lengths: [Int]? = nil, source: EmbeddedBatch?
    ) -> Tensor {
        var dropout: RandomStream?
        return model.hiddenStates(
            of: EmbeddedBatch(model.embed(tokens), lengths: lengths), source: source, dropout: &dropout)
    }

    @Test(arguments: NamedConfiguration.causal)
    func `a later token never changes an earlier output`(named: NamedConfiguration) {
        let model = named.model()
        let source = source(of: model)
        let original = hiddenStates(model, Self.tokens, source: source)
        for position in 0..<8 {
            var changed = Self.tokens
            for row in 0..<2 { changed[row][position] = (changed[row][position] + 5) % 13 }
            let hidden = hiddenStates(model, changed, source: source)
            func part(_ tensor: Tensor, _ range: Range<Int>) -> [Float] { tensor.slice(axis: 1, range: range).floats }
            #expect(part(hidden, 0..<position) == part(original, 0..<position))
            // The token itself counts, or the test shows nothing.
            #expect(part(hidden, position..<position + 1) != part(original, position..<position + 1))
        }
    }

    @Test(arguments: NamedConfiguration.causal)
    func `token by token gives what all at once does`(named: NamedConfiguration) {
        let model = named.model()
        let source = source(of: model)
        let whole = model.logits(of: hiddenStates(model, Self.tokens, source: source))
        for pieces in [[1, 1, 1, 1, 1, 1, 1, 1], [3, 1, 4]] {
            var state = model.initialState(batchCount: 2, source: source, capacity: 2)
            var start = 0
            for piece in pieces {
                let end = start + piece
                let logits = model.nextTokenLogits(after: Self.tokens.map { Array($0[start..<end]) }, state: &state)
                expectClose(logits, whole.slice(axis: 1, range: end - 1..<end))
                start = end
            }
            #expect(state.lengths == [8, 8])
        }
        var state = model.initialState(batchCount: 2, source: source)
        expectClose(
            model.step(Self.tokens.map { $0[0] }, state: &state), whole.slice(axis: 1, range: 0..<1))
    }

    @Test(arguments: NamedConfiguration.all)
    func `padding changes nothing, whatever stands there`(named: NamedConfiguration) {
        let model = named.model()
        let lengths = [8, 5]
        var (vectors, expected): ([Tensor], [Tensor]) = ([], [])
        var padded: [Tensor] = []
        for row in 0..<2 {
            let tokens = Array(Self.tokens[row].prefix(lengths[row]))
            let own = Self.source.tokens[row].prefix(Self.source.lengths[row])
            let source = model.readsSource ? EmbeddedBatch(model.embed([Array(own)])) : nil
            expected.append(hiddenStates(model, [tokens], source: source))
            let nothing = { (count: Int) in Tensor(filledWith: .nan, shape: [1, count, 10]) }
            vectors.append(.concatenated([model.embed([tokens]), nothing(8 - tokens.count)], axis: 1))
            padded.append(.concatenated([model.embed([Array(own)]), nothing(5 - own.count)], axis: 1))
        }
        var dropout: RandomStream?
        let source =
            model.readsSource ? EmbeddedBatch(.concatenated(padded, axis: 0), lengths: Self.source.lengths) : nil
        let together = model.hiddenStates(
            of: EmbeddedBatch(.concatenated(vectors, axis: 0), lengths: lengths), source: source, dropout: &dropout)
        for row in 0..<2 {
            let own = together.slice(axis: 0, range: row..<row + 1).slice(axis: 1, range: 0..<lengths[row])
            expectClose(own, expected[row])
        }
    }

    @Test(arguments: NamedConfiguration.all)
    func `outputs of a head lie within its values`(named: NamedConfiguration) {
        let model = named.model()
        let source = source(of: model)
        let (hidden, trace) = model.trace(
            model.embed(Self.tokens), source: source, recording: TraceRequest(weights: 0..<8))
        #expect(hidden.floats == hiddenStates(model, Self.tokens, source: source).floats)
        #expect(trace.layers.count == 2)
        #expect(trace.crossAttention.count == (model.readsSource ? 2 : 0))
        for layer in trace.layers + trace.crossAttention {
            // The operation is the one that was used: the reference gives the same.
            let again = layer.operation.reference(
                queries: layer.queries, keys: layer.keys, values: layer.values, returning: AttentionRequest())
            expectClose(layer.headOutputs, again.output)
            let groupSize = layer.headOutputs.shape[1] / layer.values.shape[1]
            for (batch, head) in (0..<2).flatMap({ batch in (0..<layer.headOutputs.shape[1]).map { (batch, $0) } }) {
                for component in 0..<layer.values.shape[3] {
                    let values = (0..<layer.values.shape[2]).map {
                        layer.values[batch, head / groupSize, $0, component]
                    }
                    for query in 0..<8 {
                        let output = layer.headOutputs[batch, head, query, component]
                        #expect(output >= (values.min() ?? 0) - 1e-5 && output <= (values.max() ?? 0) + 1e-5)
                    }
                }
            }
        }
    }

    @Test(arguments: NamedConfiguration.all)
    func `keeps its parameters' names and number, and its configuration in a file`(
        named: NamedConfiguration
    ) throws {
        let model = named.model()
        let names = model.parameters.map(\.name)
        #expect(Set(names).count == names.count)
        #expect(names.contains("layers.1.self_attn.q_proj.weight"))
        #expect(names.contains("output.weight") == !named.configuration.tiesEmbedding)
        #expect(names.contains("position_embedding.weight") == (named.configuration.positions == .learned))
        #expect(names.contains("layers.0.multihead_attn.out_proj.weight") == model.readsSource)
        #expect(names.contains("layers.0.norm1.bias") == (named.configuration.norm == .layer(epsilon: 1e-5)))
        let table = Dictionary(uniqueKeysWithValues: model.parameters.map { ($0.name, $0.value) })
        let again = try model.replacingParameters(named: table)
        #expect(again.parameters.map(\.value.floats) == model.parameters.map(\.value.floats))
        let data = try JSONEncoder().encode(named.configuration)
        #expect(try JSONDecoder().decode(TransformerConfiguration.self, from: data) == named.configuration)
    }

    private func expectClose(
        _ actual: Tensor, _ expected: Tensor, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let (numbers, wanted) = (actual.doubles, expected.doubles)
        #expect(numbers.count == wanted.count, sourceLocation: sourceLocation)
        let scale = max(1, wanted.map(abs).max() ?? 0)
        let far = zip(numbers, wanted).first { !(abs($0 - $1) <= 2e-5 * scale) }
        #expect(far == nil, sourceLocation: sourceLocation)
    }
}

@Suite struct `A Transformer to be trained` {
    private static let configuration = TransformerConfiguration(
        modelDimension: 64, layerCount: 3, headCount: 2, vocabularySize: 101, contextLength: 32, hasBiases: true)

    private func deviation(_ tensor: Tensor) -> Double {
        let numbers = tensor.doubles
        return (numbers.reduce(0) { $0 + $1 * $1 } / Double(numbers.count)).squareRoot()
    }

    @Test func `begins as GPT-2 does`() {
        var random = RandomStream(seed: 7)
        let model = Transformer(configuration: Self.configuration, random: &random)
        for (name, value) in model.parameters {
            let wanted =
                if name.hasSuffix("bias") {
                    0.0
                } else if name.contains("norm") {
                    1.0
                } else if name.hasSuffix("out_proj.weight") || name.hasSuffix("linear2.weight") {
                    0.02 / 6.0.squareRoot()
                } else {
                    0.02
                }
            #expect(abs(deviation(value) - wanted) <= 0.06 * wanted, "\(name)")
        }
        // Nothing is known yet: all tokens are about as likely, the tied one a little more.
        var dropout: RandomStream?
        let hidden = model.hiddenStates(of: EmbeddedBatch(model.embed([[1, 2, 3]])), source: nil, dropout: &dropout)
        let probabilities = softmax(model.logits(of: hidden)).doubles
        #expect(probabilities.allSatisfy { $0 * 101 < 5 })
    }

    @Test func `drops out in training alone, by its stream`() {
        var configuration = Self.configuration
        configuration.dropoutRate = 0.2
        var random = RandomStream(seed: 7)
        let model = Transformer(configuration: configuration, random: &random)
        let inputs = EmbeddedBatch(model.embed([[1, 2, 3]]))
        func run(_ dropout: RandomStream?) -> [Float] {
            var dropout = dropout
            return model.hiddenStates(of: inputs, source: nil, dropout: &dropout).floats
        }
        #expect(run(nil) == run(nil))
        #expect(run(RandomStream(seed: 1)) == run(RandomStream(seed: 1)))
        #expect(run(RandomStream(seed: 1)) != run(RandomStream(seed: 2)))
        #expect(run(RandomStream(seed: 1)) != run(nil))
        var dropout: RandomStream? = RandomStream(seed: 1)
        _ = model.hiddenStates(of: inputs, source: nil, dropout: &dropout)
        // The embedding, and two blocks of three layers: half a number per element.
        #expect(dropout?.position == 7 * 3 * 64 / 2)
    }

    @Test func `says that a sequence is longer than the learned positions, and stops at it`() async {
        #expect(Self.configuration.problem(forLength: 32) == nil)
        let problem = Self.configuration.problem(forLength: 33)
        #expect(problem?.contains("33") == true && problem?.contains("32") == true)
        var unbounded = Self.configuration
        unbounded.positions = .sinusoidal
        #expect(unbounded.problem(forLength: 33) == nil)
        await #expect(processExitsWith: .failure) {
            var random = RandomStream(seed: 7)
            let configuration = TransformerConfiguration(
                modelDimension: 4, layerCount: 1, headCount: 2, vocabularySize: 3, contextLength: 2)
            let model = Transformer(configuration: configuration, random: &random)
            var state = model.initialState()
            _ = model.nextTokenLogits(after: [[1, 1]], state: &state)
            _ = model.nextTokenLogits(after: [[1]], state: &state)
        }
    }

    @Test func `says what cannot be`() {
        func problem(_ change: (inout TransformerConfiguration) -> Void) -> String? {
            var configuration = Self.configuration
            change(&configuration)
            return configuration.problem
        }
        #expect(problem { _ in } == nil)
        #expect(problem { $0.keyValueHeadCount = 3 }?.contains("3 key-value heads") == true)
        #expect(problem { $0.vocabularySize = 0 }?.contains("vocabulary") == true)
        #expect(problem { $0.layerCount = 0 } != nil)
        #expect(problem { $0.dropoutRate = 1 }?.contains("1.0") == true)
        #expect(problem { $0.norm = .rms(epsilon: 0) } != nil)
        #expect(problem { ($0.isCausal, $0.encoderLayerCount) = (false, 1) } != nil)
        #expect(problem { $0.positions = .rotary(RotaryEmbedding(dimension: 34, layout: .half)) } != nil)
    }

    @Test func `names that are missing or left over, and other shapes, are errors`() {
        var random = RandomStream(seed: 7)
        let norm = Norm(.layer(epsilon: 1e-5), dimension: 3)
        let weight = random.normal([3], deviation: 1)
        #expect(throws: ParameterNameError.wrongNames(missing: ["bias"], unexpected: ["gamma"])) {
            try norm.replacingParameters(named: ["weight": weight, "gamma": weight])
        }
        #expect(throws: ParameterNameError.wrongShape(name: "bias", shape: [3, 1], wanted: [3])) {
            try norm.replacingParameters(named: ["weight": weight, "bias": weight.reshaped(to: [3, 1])])
        }
    }

    @Test func `is tracked through its matrices, and shares memory until it is changed`() {
        var random = RandomStream(seed: 7)
        var model = Transformer(configuration: Self.configuration, random: &random)
        let tracked = model.tracked()
        #expect(tracked.parameters.allSatisfy { $0.value.isTracked })
        #expect(tracked.embed([[3]]).isTracked)
        let before = model.embed([[3]]).floats
        model.visitParameters { _, parameter in parameter = parameter * 2 }
        #expect(model.embed([[3]]).floats == before.map { 2 * $0 })
        #expect(tracked.embed([[3]]).floats == before)
    }
}

@Suite struct `Gradients of a Transformer` {
    private static let configurations = NamedConfiguration.all.map { named in
        NamedConfiguration(named.testDescription) {
            $0 = named.configuration
            ($0.modelDimension, $0.layerCount, $0.headCount, $0.keyValueHeadCount) = (4, 1, 2, 1)
            ($0.headDimension, $0.feedForwardDimension, $0.vocabularySize, $0.contextLength) = (2, 3, 3, 4)
            $0.encoderLayerCount = min(1, $0.encoderLayerCount)
            if case .rotary = $0.positions {
                $0.positions = .rotary(RotaryEmbedding(dimension: 2, base: 100, layout: .half))
            }
        }
    }

    @Test(arguments: configurations)
    func `match central differences for every parameter`(named: NamedConfiguration) {
        let model = named.model(elementType: .float64)
        let batch = TokenBatch([[2, 0, 1], [1, 2]])
        let source = model.readsSource ? TokenBatch([[0, 2], [1]]) : nil
        let problems = gradientProblems(of: model.parameters.map(\.value)) { values in
            let model = model.replacingParameters(with: values)
            let logits = model.nextTokenLogits(for: batch, source: source)
            // What stands at padding means nothing.
            return .concatenated(
                [
                    logits.slice(axis: 0, range: 0..<1).reshaped(to: [9]),
                    logits.slice(axis: 0, range: 1..<2).slice(axis: 1, range: 0..<2).reshaped(to: [6]),
                ], axis: 0)
        }
        #expect(problems == [], "\(model.parameters.map(\.name))")
    }

    @Test(arguments: [0.0, 0.3])
    func `have the same bits for any number of threads`(dropoutRate: Double) {
        var configuration = TransformerConfiguration(
            modelDimension: 24, layerCount: 2, headCount: 3, vocabularySize: 17, contextLength: 40)
        configuration.dropoutRate = dropoutRate
        var random = RandomStream(seed: 9)
        let model = Transformer(configuration: configuration, random: &random)
        let tokens = (0..<3).map { row in (0..<33).map { ($0 * $0 + row) % 17 } }
        func gradients() -> [[Float]] {
            let tracked = model.tracked()
            var dropout: RandomStream? = RandomStream(seed: 2)
            let hidden = tracked.hiddenStates(
                of: EmbeddedBatch(tracked.embed(tokens)), source: nil, dropout: &dropout)
            let logits = tracked.logits(of: hidden)
            return (softmax(logits) * logits).sum().gradients(of: tracked.parameters.map(\.value)).map(\.floats)
        }
        let before = ComputeThreads.count
        defer { ComputeThreads.count = before }
        let expected = gradients()
        #expect(expected.allSatisfy { $0.contains { $0 != 0 } })
        for count in [1, 3] {
            ComputeThreads.count = count
            #expect(gradients() == expected)
        }
    }

    @Test func `reach embeddings through weights as a file stores them`() {
        var random = RandomStream(seed: 9)
        let configuration = TransformerConfiguration(
            modelDimension: 8, layerCount: 1, headCount: 2, vocabularySize: 5, contextLength: 4)
        let model = Transformer(configuration: configuration, random: &random)
        let half = model.replacingParameters(with: model.parameters.map { $0.value.converted(to: .bfloat16) })
        let single = model.replacingParameters(
            with: half.parameters.map { $0.value.converted(to: .float32) })
        func gradient(_ model: Transformer) -> [Float] {
            let x = single.embed([[3, 1]]).tracked()
            return model.logits(of: model.hiddenStates(of: x)).sum().gradients(of: [x])[0].floats
        }
        #expect(gradient(half) == gradient(single))
    }
}
