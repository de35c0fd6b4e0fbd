import Attention
import Foundation
import ModelFiles
import SequenceModels
import TestSupport
import Testing

@testable import AttentionInspection
@testable import PretrainedModels

/// The steps of one head, for every measure that a Transformer can be trained with.
@Suite struct `Steps of a head by other measures` {
    /// How positions enter, by name.
    enum Positions: String, CaseIterable {
        case learned, alibi, rotary
    }

    private static let (headCount, dimension) = (3, 5)

    /// A Transformer whose heads do not look everywhere alike, which they do at the start of training.
    private func model(_ similarity: SimilarityKind, _ positions: Positions = .learned) throws -> LanguageModel {
        let tokenizer = try LanguageModel(TinyLlama().contents.file()).tokenizer
        let width = Self.headCount * Self.dimension
        var random = RandomStream(seed: 71)
        var transformer = try #require(
            TextModelConfiguration(
                .transformer, vocabularySize: tokenizer.vocabularySize, width: width, layerCount: 2,
                contextLength: 31, headCount: Self.headCount, similarity: similarity
            ).model(random: &random) as? Transformer)
        if positions != .learned {
            transformer = Transformer(
                configuration: TransformerConfiguration(
                    modelDimension: width, layerCount: 2, headCount: Self.headCount,
                    vocabularySize: tokenizer.vocabularySize, contextLength: 31,
                    positions: positions == .alibi ? .alibi : .rotary(RotaryEmbedding(dimension: 4, layout: .half)),
                    similarity: similarity),
                random: &random)
        }
        transformer.visitParameters { name, parameter in
            if name.contains("_proj") { parameter = parameter * 12 }
            if name.contains("similarity") { parameter = parameter * 1.5 }
        }
        return LanguageModel(
            name: "tiny", path: "", model: transformer, tokenizer: tokenizer, prompting: .text)
    }

    private func steps(of model: LanguageModel, layer: Int, head: Int) throws -> AttentionSteps {
        let options = ExplanationOptions(layer: layer, head: head, effect: .never)
        return try #require(try model.explanation(of: "hello, the a b c", target: .word("b"), options: options).steps)
    }

    private func dot(_ left: [Double], _ right: [Double]) -> Double { sum(zip(left, right).map(*)) }

    /// The score before the scale, and the scale, from the definitions and what the layer has learned.
    private func score(
        _ kind: SimilarityKind, _ learned: [String: [Double]], query: [Double], key: [Double]
    ) -> (score: Double, scale: Double) {
        let root = Double(query.count).squareRoot()
        let differences = zip(query, key).map { $0 - $1 }
        /// The product of a square matrix with a vector.
        func times(_ name: String, _ vector: [Double]) -> [Double] {
            let matrix = learned[name] ?? []
            return vector.indices.map { row in
                dot(Array(matrix[row * vector.count..<(row + 1) * vector.count]), vector)
            }
        }
        switch kind {
        case .scaledDot: return (dot(query, key), 1 / root)
        case .dot: return (dot(query, key), 1)
        case .general: return (dot(query, times("weight", key)), 1)
        case .additive:
            let sums = zip(times("query_weight", query), times("key_weight", key)).map { tanh($0 + $1) }
            return (dot(learned["score_weight"] ?? [], sums), 1)
        case .linearAdditive:
            return (dot(learned["query_weight"] ?? [], query) + dot(learned["key_weight"] ?? [], key), 1)
        case .cosine:
            return (dot(query, key) / norm(query) / norm(key), 1 + exp(-(learned["temperature_logit"]?[0] ?? .nan)))
        case .euclidean: return (-dot(differences, differences) / root, 1)
        case .gaussian: return (-dot(differences, differences) / (2 * root), 1)
        case .laplacian: return (-sum(differences.map(abs)) / root, 1)
        }
    }

    @Test(arguments: SimilarityKind.allCases, Positions.allCases)
    func `each step recombines to the next`(kind: SimilarityKind, positions: Positions) throws {
        let model = try model(kind, positions)
        let transformer = try #require(model.transformer)
        var spread = 0.0
        for (layer, head) in [(0, 1), (1, 2)] {
            var similarity = transformer.layers[layer].attention.similarity
            var learned: [String: [Double]] = [:]
            similarity.visitParameters { name, parameter in learned[name] = parameter.doubles }
            let steps = try steps(of: model, layer: layer, head: head)
            #expect(steps.similarity == kind.rawValue)
            #expect(steps.isRotated == (positions == .rotary))
            #expect((steps.queryBeforeRotation == steps.query) != (positions == .rotary))
            let query = steps.query.map(Double.init)
            let slope = positions == .alibi ? ScoreBias.alibiSlopes(headCount: Self.headCount)[head] : 0
            for key in steps.keys {
                let expected = score(kind, learned, query: query, key: key.key.map(Double.init))
                #expect(abs(key.dotProduct - expected.score) < 1e-4)
                #expect(abs(steps.scale / expected.scale - 1) < 1e-6)
                #expect(abs(key.scaled - key.dotProduct * steps.scale) < 1e-9)
                if key.position > steps.queryPosition {
                    #expect(key.masked == nil && key.weight == 0)
                } else {
                    let bias = -slope * Double(steps.queryPosition - key.position)
                    #expect(abs(try #require(key.masked) - key.scaled - bias) < 1e-9)
                }
                if positions != .rotary { #expect(key.keyBeforeRotation == key.key) }
            }
            #expect(steps.keys.contains { $0.position > steps.queryPosition })
            let exponentials = steps.keys.map { $0.masked.map { exp($0) } ?? 0 }
            for (key, exponential) in zip(steps.keys, exponentials) {
                #expect(abs(key.weight - exponential / sum(exponentials)) < 1e-4)
                if key.position <= steps.queryPosition {
                    spread = max(spread, abs(key.weight * Double(steps.queryPosition + 1) - 1))
                }
            }
            for component in 0..<Self.dimension {
                let average = sum(steps.keys.map { $0.weight * Double($0.value[component]) })
                let added = sum(steps.keys.map { Double($0.weightedValue[component]) })
                #expect(abs(average - Double(steps.output[component])) < 1e-4)
                #expect(abs(added - Double(steps.output[component])) < 1e-4)
            }
        }
        // Were all weights alike, no score could be wrong.
        #expect(spread > 0.05)
    }

    @Test func `the ladder names the measure, and shows no rotation where nothing rotates`() throws {
        let text = try steps(of: model(.laplacian), layer: 0, head: 1).text()
        #expect(text.contains("4. From similarity to weight (laplacian, scale 1.000000)"))
        #expect(text.contains("  similarity      × scale   after mask    softmax α"))
        #expect(!text.contains("rotation") && !text.contains("q·k"))

        let rotated = try steps(of: model(.cosine, .rotary), layer: 0, head: 1).text()
        #expect(rotated.contains("4. From similarity to weight (cosine, scale "))
        #expect(rotated.contains("  before rotation  [") && rotated.contains("  after rotation   ["))

        let biased = try steps(of: model(.dot, .alibi), layer: 0, head: 1).text()
        #expect(biased.contains("         q·k      × scale  bias & mask    softmax α"))
    }
}
