import Foundation
import ModelFiles
import PretrainedModels
import TestSupport
import Testing

@testable import AttentionInspection

/// Explanations by the real model against the numbers that Transformers has for the same sentences.
@Suite(.serialized, .enabled(if: SmolLM2.isTested, "SmolLM2's file is absent"))
struct `An explanation by SmolLM2` {
    private static let model = Result { try LanguageModel(path: SmolLM2.path) }
    private static let weightTolerance = 1e-4

    private let model: LanguageModel
    /// Those that are tokens of plain text; an explanation takes special tokens as text.
    private let prompts: [ReferencePrompt]

    init() throws {
        let model = try Self.model.get()
        self.model = model
        prompts = try ReferencePrompt.all().filter { try model.tokenizer.encode($0.text) == $0.tokenIDs }
        try #require(!prompts.isEmpty)
    }

    @Test func `shows the attention and the predictions of Transformers`() throws {
        for prompt in prompts {
            let options = ExplanationOptions(showsTokens: true, predictionCount: 10, effect: .never)
            let last = prompt.tokenIDs.count - 1
            let explanation = try model.explanation(of: prompt.text, target: .position(last), options: options)
            let (layers, heads, count) = (
                prompt.attentionShape[0], prompt.attentionShape[1], prompt.attentionShape[3]
            )
            #expect(explanation.words.count == count)
            for (key, word) in explanation.words.enumerated() {
                let weights = (0..<layers * heads).map {
                    Double(prompt.attentionWeights[($0 * count + last) * count + key])
                }
                #expect(abs(word.attentionFigure - sum(weights) / Double(layers * heads)) < Self.weightTolerance)
            }
            // The first token is a sink in most texts, whatever it is.
            let hasSink = last > 0 && explanation.words[0].attentionFigure >= 0.3
            #expect(explanation.words.map(\.isSink) == explanation.words.indices.map { $0 == 0 && hasSink })
            if hasSink { #expect(abs(sum(explanation.words.compactMap(\.attentionWithoutSink)) - 1) < 1e-6) }

            let exponentials = prompt.lastLogits.map { exp(Double($0)) }
            let total = sum(exponentials)
            // A logit may be off by 2e-3, and a probability by twice that share.
            func isClose(_ probability: Double, _ token: Int32) -> Bool {
                abs(probability - exponentials[Int(token)] / total) < 4e-3 * probability
            }
            let likeliest = prompt.topIDs.suffix(10)
            for (prediction, token) in zip(explanation.nextWords, likeliest) {
                #expect(isClose(prediction.probability, token))
                // Two that are equally likely may change places.
                let names = try likeliest.filter { isClose(prediction.probability, $0) }
                    .map { try model.tokenizer.decode([$0]) }
                #expect(names.contains(prediction.text))
            }
        }
        #expect(prompts.contains { $0.tokenIDs.count > 1 })
    }

    @Test(arguments: [(0, 0), (11, 4), (29, 8)])
    func `shows the steps of the attention of Transformers`(layer: Int, head: Int) throws {
        let prompt = prompts[0]
        let options = ExplanationOptions(layer: layer, head: head, effect: .never)
        // In the middle: what follows is hidden by the mask.
        let target = prompt.tokenIDs.count / 2
        let explanation = try model.explanation(of: prompt.text, target: .position(target), options: options)
        let steps = try #require(explanation.steps)
        try expectRecombination(steps)
        let (heads, count) = (prompt.attentionShape[1], prompt.attentionShape[3])
        #expect(steps.keys.count == count)
        #expect(steps.query.count == 64)
        #expect(steps.keyValueHead == head / 3)
        #expect(steps.headsSharingKeys == Array(head / 3 * 3..<head / 3 * 3 + 3))
        for (key, step) in steps.keys.enumerated() {
            let row = ((layer * heads + head) * count + steps.queryPosition) * count
            #expect(abs(step.weight - Double(prompt.attentionWeights[row + key])) < Self.weightTolerance)
        }
    }

    @Test func `attends from a word of several tokens as its tokens do on average`() throws {
        let sentence = "Unbelievably, antidisestablishmentarianism endures"
        let options = ExplanationOptions(layer: 5, showsTokens: true, effect: .never)
        let text = try TokenizedText(sentence, model.tokenizer, contextLength: 8192)
        #expect(text.wordSegments.map(\.text) == ["Unbelievably", ",", "antidisestablishmentarianism", "endures"])
        let word = text.wordSegments[2].tokens
        #expect(word.count > 2)
        let merged = try model.explanation(
            of: sentence, target: .word("antidisestablishmentarianism"),
            options: ExplanationOptions(layer: 5, effect: .never))
        var expected = [Double](repeating: 0, count: text.wordSegments.count)
        for token in word {
            let words = try model.explanation(of: sentence, target: .position(token), options: options).words
            for (index, segment) in text.wordSegments.enumerated() {
                expected[index] += sum(words[segment.tokens].map(\.attentionFigure)) / Double(word.count)
            }
        }
        for (word, expected) in zip(merged.words, expected) { #expect(abs(word.attentionFigure - expected) < 1e-5) }
    }

    @Test func `has an effect of every visible word`() throws {
        let explanation = try model.explanation(of: "The FBI is chasing", target: .word("is"))
        #expect(abs(sum(explanation.words.map(\.attentionFigure)) - 1) < 1e-4)
        #expect(abs(sum(explanation.words.map(\.contributionFigure)) - 1) < 1e-4)
        for word in explanation.words.prefix(3) { #expect(try #require(word.effect) > 0.01) }
        #expect(explanation.words[3].effect == 0)
        #expect(!explanation.words[3].isVisible)
    }
}
