import Attention
import Foundation
import ModelFiles
import PretrainedModels
import SequenceModels
import TestSupport
import Testing

@testable import AttentionInspection

@Suite struct `An explanation` {
    private static let sentence = "The hellos, when 3.5 o'clock"
    /// Words and tokens differ: merges know "the", "hello" and little else.
    private static let words = ["The", "hellos", ",", "when", "3.5", "o'clock"]

    private let model: LanguageModel

    init() throws {
        model = try LanguageModel(TinyLlama().contents.file(path: "tiny.gguf"))
    }

    private func explanation(
        _ target: Target = .last, _ options: ExplanationOptions = ExplanationOptions()
    ) throws -> Explanation {
        try model.explanation(of: Self.sentence, target: target, options: options)
    }

    @Test(arguments: [0, 1, 3, 5]) func `shares out attention and contribution`(target: Int) throws {
        for (layer, head) in [(nil, nil), (1, nil), (0, 3)] as [(Int?, Int?)] {
            let explanation = try explanation(.position(target), ExplanationOptions(layer: layer, head: head))
            #expect(explanation.words.map(\.text) == Self.words)
            #expect(explanation.target.index == target)
            #expect(explanation.target.text == Self.words[target])
            #expect(abs(sum(explanation.words.map(\.attentionFigure)) - 1) < 1e-5)
            #expect(abs(sum(explanation.words.map(\.contributionFigure)) - 1) < 1e-5)
            for (index, word) in explanation.words.enumerated() {
                #expect(word.isVisible == (index <= target))
                let effect = try #require(word.effect)
                #expect(effect >= 0 && effect.isFinite)
                #expect(word.attentionFigure >= 0 && word.contributionFigure >= 0)
                if index > target {
                    #expect(word.attentionFigure == 0 && word.contributionFigure == 0 && effect == 0)
                }
            }
        }
    }

    @Test func `says what it is of`() throws {
        #expect(try explanation().scope == "mean of 2 layers × 4 heads")
        #expect(try explanation(.last, ExplanationOptions(layer: 1)).scope == "layer 1, mean of 4 heads")
        #expect(try explanation(.last, ExplanationOptions(layer: 1, head: 2)).scope == "layer 1, head 2")
        #expect(try explanation().model == "tiny")
        #expect(try explanation().unit == "words")
        #expect(try explanation(.last, ExplanationOptions(showsTokens: true)).unit == "tokens")
    }

    @Test func `sums attention to a word over its tokens, and takes the mean from it`() throws {
        let target = 3
        let words = try explanation(.position(target))
        let merged = try TokenizedText(Self.sentence, model.tokenizer, contextLength: 96).wordSegments
        let sources = merged[target].tokens
        #expect(sources.count > 1)
        let tokens = try sources.map {
            try explanation(.position($0), ExplanationOptions(showsTokens: true, effect: .never)).words
        }
        for (word, segment) in zip(words.words, merged) {
            let expected =
                sum(tokens.map { from in sum(from[segment.tokens].map(\.attentionFigure)) })
                / Double(sources.count)
            #expect(abs(word.attentionFigure - expected) < 1e-6)
        }
    }

    // The definition, from the trace's own numbers and W_O.
    @Test func `contribution is the norm of what a word adds to the residual stream`() throws {
        let text = try TokenizedText(Self.sentence, model.tokenizer, contextLength: 96)
        let embeddings = (try #require(model.transformer)).embed([text.ids.map(Int.init)])
        let query = text.ids.count - 1
        let trace = (try #require(model.transformer)).trace(
            embeddings, recording: TraceRequest(weights: query..<query + 1)
        ).trace
        let tokens = try explanation(.position(query), ExplanationOptions(showsTokens: true, effect: .never)).words
        var shares = [Double](repeating: 0, count: text.ids.count)
        for (layer, weights) in zip(trace.layers, try #require(model.transformer).layers) {
            let alpha = try #require(layer.attentionWeights)
            let norms = text.ids.indices.map { key -> Double in
                let average = (0..<32).map { column in
                    Float(alpha[0, column / 8, 0, key] * layer.values[0, column / 16, key, column % 8])
                }
                return norm(matmul(Tensor(average, shape: [1, 32]), weights.attention.output.weight).doubles)
            }
            for (index, norm) in norms.enumerated() { shares[index] += norm / sum(norms) / 2 }
        }
        for (token, share) in zip(tokens, shares) { #expect(abs(token.contributionFigure - share) < 1e-5) }
    }

    // The definition, one run at a time.
    @Test func `effect is the divergence without the word, in bits`() throws {
        let text = try TokenizedText(Self.sentence, model.tokenizer, contextLength: 96)
        let transformer = try #require(model.transformer)
        let embeddings = transformer.embed([text.ids.map(Int.init)])
        let mean = transformer.embedding.meanRow.floats
        func prediction(_ embeddings: Tensor) -> [Double] {
            let hidden = transformer.hiddenStates(of: embeddings)
            let logits = transformer.logits(of: hidden).doubles.suffix(model.tokenizer.vocabularySize)
            let exponentials = logits.map { exp($0) }
            return exponentials.map { $0 / sum(exponentials) }
        }
        let before = prediction(embeddings)
        for (word, segment) in zip(try explanation().words, text.wordSegments) {
            var elements = embeddings.floats
            for token in segment.tokens { elements.replaceSubrange(token * 32..<(token + 1) * 32, with: mean) }
            let after = prediction(Tensor(elements, shape: embeddings.shape))
            let bits = sum(zip(before, after).map { $0 * log2($0 / $1) })
            #expect(abs(try #require(word.effect) - bits) < 1e-5)
            #expect(bits > 1e-3)
        }
    }

    @Test func `a word whose embedding is the mean already has no effect at all`() throws {
        let text = try TokenizedText(Self.sentence, model.tokenizer, contextLength: 96)
        var elements = (try #require(model.transformer)).embed([text.ids.map(Int.init)]).floats
        let absent = text.wordSegments[1]
        for token in absent.tokens {
            elements.replaceSubrange(
                token * 32..<(token + 1) * 32, with: (try #require(model.transformer)).embedding.meanRow.floats)
        }
        let embeddings = Tensor(elements, shape: [1, text.ids.count, 32])
        let hidden = (try #require(model.transformer)).hiddenStates(of: embeddings)
        let last = hidden.slice(axis: 1, range: text.ids.count - 1..<text.ids.count)
        let lens = EffectLens(
            model: try #require(model.transformer), embeddings: embeddings,
            logProbabilities: logSoftmax((try #require(model.transformer)).logits(of: last).floats))
        // The same bits go in, so the same come out, whatever else is in the batch.
        let bits = try lens.bits(of: text.wordSegments)
        #expect(bits[1] == 0)
        #expect(bits.enumerated().allSatisfy { $0 == 1 || $1 > 1e-3 })
    }

    @Test func `leaves effect out on long sentences unless it is asked for`() throws {
        let sentence = (0..<90).map { _ in "a" }.joined(separator: " ")
        var tiny = TinyLlama()
        tiny.contextLength = 512
        let model = try LanguageModel(tiny.contents.file())
        func explanation(_ effect: ExplanationOptions.Effect) throws -> Explanation {
            try model.explanation(of: sentence, options: ExplanationOptions(effect: effect))
        }
        let automatic = try explanation(.automatic)
        #expect(automatic.words.allSatisfy { $0.effect == nil })
        #expect(automatic.notes.contains { $0.contains("effect was left out") && $0.contains("--effect always") })
        #expect(automatic.text().contains("Note: effect was left out"))
        let always = try explanation(.always)
        #expect(always.words.allSatisfy { ($0.effect ?? -1) >= 0 })
        #expect(always.notes.isEmpty)
        let never = try explanation(.never)
        #expect(never.words.allSatisfy { $0.effect == nil })
        #expect(never.notes.isEmpty)
    }

    @Test func `shows all but effect before effect is computed`() throws {
        var partials: [Explanation] = []
        let whole = try model.explanation(of: Self.sentence) { partials.append($0) }
        let partial = try #require(partials.first)
        #expect(partials.count == 1)
        #expect(partial.words.allSatisfy { $0.effect == nil })
        #expect(partial.words.map(\.attentionFigure) == whole.words.map(\.attentionFigure))
        #expect(partial.words.map(\.contributionFigure) == whole.words.map(\.contributionFigure))
        #expect(partial.heading() == whole.heading())
        #expect(whole.text() == whole.heading() + whole.body())
        #expect(whole.heading().split(separator: "\n").count == 1)
        _ = try model.explanation(of: Self.sentence, options: ExplanationOptions(effect: .never)) { _ in
            Issue.record("There is no effect to wait for.")
        }
    }

    @Test func `predicts by the softmax of the logits`() throws {
        let text = try TokenizedText(Self.sentence, model.tokenizer, contextLength: 96)
        var state = (try #require(model.transformer)).initialState()
        let logits = (try #require(model.transformer)).nextTokenLogits(after: [text.ids.map(Int.init)], state: &state)
            .doubles
        let exponentials = logits.map { exp($0) }
        let predictions = try explanation(.last, ExplanationOptions(predictionCount: 7)).nextWords
        let best = logits.indices.sorted { (logits[$1], $0) < (logits[$0], $1) }.prefix(7)
        #expect(predictions.map(\.text) == (try best.map { try model.tokenizer.decode([Int32($0)]) }))
        for (prediction, token) in zip(predictions, best) {
            #expect(abs(prediction.probability - exponentials[token] / sum(exponentials)) < 1e-5)
        }
        #expect(try explanation(.last, ExplanationOptions(predictionCount: 0)).nextWords.isEmpty)
        let all = try explanation(.last, ExplanationOptions(predictionCount: 10_000)).nextWords
        #expect(all.count == model.tokenizer.vocabularySize)
        #expect(abs(sum(all.map(\.probability)) - 1) < 1e-5)
    }

    @Test func `an earlier target does not depend on later words`() throws {
        let whole = try model.explanation(of: "The hellos, when", target: .word("hellos"))
        let part = try model.explanation(of: "The hellos")
        for (word, same) in zip(whole.words, part.words) {
            #expect(abs(word.attentionFigure - same.attentionFigure) < 1e-6)
            #expect(abs(word.contributionFigure - same.contributionFigure) < 1e-6)
            #expect(abs((word.effect ?? -1) - (same.effect ?? -1)) < 1e-5)
        }
        #expect(whole.nextWords.map(\.text) == part.nextWords.map(\.text))
    }

    @Test func `gives the token that the model expects in front a line of its own`() throws {
        var tiny = TinyLlama()
        tiny.addsBeginningOfSequence = true
        let model = try LanguageModel(tiny.contents.file())
        let explanation = try model.explanation(of: Self.sentence)
        #expect(explanation.words.map(\.text) == ["<|start|>"] + Self.words)
        #expect(abs(sum(explanation.words.map(\.attentionFigure)) - 1) < 1e-5)
    }

    @Test func `takes special tokens in the sentence as plain text`() throws {
        let explanation = try model.explanation(of: "a <|start|> b", options: ExplanationOptions(showsTokens: true))
        #expect(explanation.words.count > 6)
        #expect(explanation.words.map(\.text).joined() == "a <|start|> b")
    }

    // MARK: - The sink

    /// Equal queries and keys everywhere: each of n visible tokens gets 1/n.
    private func indifferentModel() throws -> LanguageModel {
        var contents = TinyLlama().contents
        for layer in 0..<2 {
            let name = "blk.\(layer).attn_q.weight"
            contents[tensor: name] = GGUFContents.Tensor(
                name, dimensions: [32, 32], [Float](repeating: 0, count: 1024))
        }
        return try LanguageModel(contents.file())
    }

    @Test func `shows a sink apart and shares out the rest`() throws {
        let model = try indifferentModel()
        let explanation = try model.explanation(of: "a b")
        #expect(explanation.words.map(\.isSink) == [true, false])
        // "b" is the tokens " " and "b", which see two and three tokens alike.
        #expect(abs(explanation.words[0].attentionFigure - 5.0 / 12) < 1e-5)
        #expect(explanation.words[0].attentionWithoutSink == nil)
        let rest = explanation.words.dropFirst().compactMap(\.attentionWithoutSink)
        #expect(abs(sum(rest) - 1) < 1e-6)
        #expect(explanation.text().contains("(an attention sink)"))
    }

    @Test func `shows no sink where the first word has a fair share, or is the target`() throws {
        let model = try indifferentModel()
        let spread = try model.explanation(of: "a b c d e f g h")
        #expect(spread.words.allSatisfy { !$0.isSink && $0.attentionWithoutSink == nil })
        #expect(!spread.text().contains("sink"))
        let first = try model.explanation(of: "a b c", target: .position(0))
        #expect(first.words.allSatisfy { !$0.isSink && $0.attentionWithoutSink == nil })
        #expect(abs(first.words[0].attentionFigure - 1) < 1e-6)
    }

    // MARK: - The steps

    @Test(arguments: [0, 1], [0, 1, 2, 3]) func `each step recombines to the next`(layer: Int, head: Int) throws {
        let explanation = try explanation(.word("when"), ExplanationOptions(layer: layer, head: head))
        let steps = try #require(explanation.steps)
        try expectRecombination(steps)
        #expect(steps.layer == layer)
        #expect(steps.head == head)
        #expect(steps.keyValueHead == head / 2)
        #expect(steps.headsSharingKeys == (head < 2 ? [0, 1] : [2, 3]))
        let text = try TokenizedText(Self.sentence, model.tokenizer, contextLength: 96)
        #expect(steps.queryPosition == text.wordSegments[3].tokens.upperBound - 1)
        #expect(steps.queryText == text.tokenTexts[steps.queryPosition])
        for (index, key) in steps.keys.enumerated() {
            #expect(key.position == index)
            #expect(key.text == text.tokenTexts[index])
            #expect(text.wordSegments[key.word].tokens.contains(index))
        }
    }

    @Test func `one token's steps sum to the attention that the words show`() throws {
        let options = ExplanationOptions(layer: 1, head: 2, showsTokens: true, effect: .never)
        let explanation = try explanation(.position(4), options)
        let steps = try #require(explanation.steps)
        for (word, key) in zip(explanation.words, steps.keys) { #expect(abs(word.attentionFigure - key.weight) < 1e-6) }
    }

    @Test func `steps need a layer and a head`() throws {
        #expect(try explanation().steps == nil)
        #expect(try explanation(.last, ExplanationOptions(layer: 0)).steps == nil)
    }

    // MARK: - What cannot be explained

    @Test(arguments: ["", " ", "\n\t", "\u{A0}\u{3000}"]) func `refuses a sentence without a word`(sentence: String) {
        #expect(throws: InspectionError.emptySentence) { try model.explanation(of: sentence) }
    }

    @Test func `refuses more tokens than the model sees at once`() throws {
        // One token each: 95 letters, and "Ġt" alone has a merge.
        #expect(throws: InspectionError.sentenceTooLong(tokenCount: 97, contextLength: 96)) {
            try model.explanation(of: String(repeating: "z", count: 97))
        }
        let longest = try model.explanation(
            of: String(repeating: "z", count: 96), options: ExplanationOptions(effect: .never))
        #expect(longest.words.count == 1)
        var tiny = TinyLlama()
        tiny.addsBeginningOfSequence = true
        let other = try LanguageModel(tiny.contents.file())
        #expect(throws: InspectionError.sentenceTooLong(tokenCount: 97, contextLength: 96)) {
            try other.explanation(of: String(repeating: "z", count: 96))
        }
    }

    @Test(arguments: [-1, 2, Int.max]) func `refuses a layer that does not exist`(layer: Int) {
        let error = InspectionError.layerOutOfRange(layer: layer, layerCount: 2)
        #expect(throws: error) { try explanation(.last, ExplanationOptions(layer: layer)) }
        #expect(error.description.contains("from 0 to 1"))
    }

    @Test(arguments: [-1, 4, Int.min]) func `refuses a head that does not exist`(head: Int) {
        let error = InspectionError.headOutOfRange(head: head, headCount: 4)
        #expect(throws: error) { try explanation(.last, ExplanationOptions(layer: 0, head: head)) }
        #expect(error.description.contains("from 0 to 3"))
    }

    @Test func `refuses a head without its layer`() {
        let error = #expect(throws: InspectionError.self) { try explanation(.last, ExplanationOptions(head: 1)) }
        guard case .incompleteHead = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test func `refuses a target that is not in the sentence`() {
        #expect(throws: InspectionError.targetNotFound(target: "dog", words: Self.words)) {
            try explanation(.word("dog"))
        }
    }

    @Test(arguments: ["token_embd.weight", "blk.0.attn_k.weight", "blk.1.attn_v.weight", "output_norm.weight"])
    func `says that a model's numbers are not finite`(name: String) throws {
        for poison in [Float.nan, .infinity, .greatestFiniteMagnitude] {
            var contents = TinyLlama().contents
            let tensor = try #require(contents[tensor: name])
            contents[tensor: name] = GGUFContents.Tensor(
                name, dimensions: tensor.dimensions, tensor.values.map { _ in poison })
            let model = try LanguageModel(contents.file())
            // A number that is large but finite may go through; one that is not must not.
            do throws(InspectionError) {
                let explanation = try model.explanation(of: "a b c", options: ExplanationOptions(layer: 0, head: 0))
                #expect(poison.isFinite)
                #expect(throws: Never.self) { try explanation.json() }
            } catch {
                guard case .notFinite = error else {
                    Issue.record("\(error)")
                    return
                }
            }
        }
    }

    // The mean embedding, and so every prediction without a word, is NaN, where the prediction itself is not.
    @Test func `says that the prediction without a word is not finite`() throws {
        let tiny = TinyLlama()
        var contents = tiny.contents
        var embedding = try #require(contents[tensor: "token_embd.weight"])
        contents[tensor: "output.weight"] = GGUFContents.Tensor(
            "output.weight", dimensions: embedding.dimensions, embedding.values)
        var values = embedding.values
        let absent = try #require(tiny.tokens.firstIndex(of: "z"))
        for column in 0..<32 { values[absent * 32 + column] = .nan }
        embedding = GGUFContents.Tensor("token_embd.weight", dimensions: embedding.dimensions, values)
        contents[tensor: "token_embd.weight"] = embedding
        let model = try LanguageModel(contents.file())
        #expect(throws: InspectionError.notFinite(place: "the prediction without 'a'")) {
            try model.explanation(of: "a b")
        }
        #expect(throws: Never.self) { try model.explanation(of: "a b", options: ExplanationOptions(effect: .never)) }
    }

    // Two words whose values are opposite, and overflow on their own: their average, and the prediction, is fine.
    @Test func `says that contributions are not finite`() throws {
        var tiny = TinyLlama()
        tiny.layerCount = 1
        var contents = tiny.contents
        func change(_ name: String, _ body: (inout [Float]) -> Void) throws {
            let tensor = try #require(contents[tensor: name])
            var values = tensor.values
            body(&values)
            contents[tensor: name] = GGUFContents.Tensor(name, dimensions: tensor.dimensions, values)
        }
        let a = try #require(tiny.tokens.firstIndex(of: "a"))
        let b = try #require(tiny.tokens.firstIndex(of: "b"))
        try change("token_embd.weight") { values in
            for column in 0..<32 { values[b * 32 + column] = -values[a * 32 + column] }
        }
        try change("blk.0.attn_q.weight") { $0 = $0.map { _ in 0 } }
        try change("blk.0.attn_v.weight") { $0 = $0.map { $0 * 1e20 } }
        try change("blk.0.attn_output.weight") { $0 = $0.map { $0 * 1e20 } }
        let model = try LanguageModel(contents.file())
        #expect(throws: InspectionError.notFinite(place: "the contributions to the target")) {
            try model.explanation(of: "ab", options: ExplanationOptions(showsTokens: true, effect: .never))
        }
    }

    @Test func `says that the vocabulary lacks characters of the sentence`() throws {
        for unknown: UInt32? in [0, nil] {
            var tiny = TinyLlama()
            tiny.alphabet = Array(0x20...0x7E)
            tiny.merges = []
            var contents = tiny.contents
            contents["tokenizer.ggml.unknown_token_id"] = unknown.map { .uint32($0) }
            let model = try LanguageModel(contents.file())
            #expect(try model.explanation(of: "plain text").words.map(\.text) == ["plain", "text"])
            let error = #expect(throws: InspectionError.self) { try model.explanation(of: "naïve text") }
            guard case .tokenizer = error else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
    }
}

/// Checks every step of a head against the one before it, in Double.
func expectRecombination(_ steps: AttentionSteps, sourceLocation: SourceLocation = #_sourceLocation) throws {
    func dot(_ left: [Float], _ right: [Float]) -> Double {
        zip(left, right).reduce(0) { $0 + Double($1.0) * Double($1.1) }
    }
    let dimension = steps.query.count
    #expect(steps.scale == 1 / Double(dimension).squareRoot(), sourceLocation: sourceLocation)
    #expect(abs(dot(steps.query, steps.query) - dot(steps.queryBeforeRotation, steps.queryBeforeRotation)) < 1e-3)
    var exponentials: [Double] = []
    for key in steps.keys {
        #expect(key.key.count == dimension && key.value.count == dimension, sourceLocation: sourceLocation)
        let product = dot(steps.query, key.key)
        let magnitude = norm(steps.query.map(Double.init)) * norm(key.key.map(Double.init))
        #expect(abs(key.dotProduct - product) <= 1e-4 * max(1, magnitude), sourceLocation: sourceLocation)
        #expect(abs(key.scaled - key.dotProduct * steps.scale) <= 1e-9 * max(1, magnitude))
        if key.position > steps.queryPosition {
            #expect(key.masked == nil && key.weight == 0, sourceLocation: sourceLocation)
        } else {
            #expect(key.masked == key.scaled, sourceLocation: sourceLocation)
        }
        exponentials.append(key.masked.map { exp($0) } ?? 0)
        for (weighted, component) in zip(key.weightedValue, key.value) {
            #expect(abs(Double(weighted) - key.weight * Double(component)) < 1e-5, sourceLocation: sourceLocation)
        }
        // A rotation turns, and stretches nothing.
        #expect(
            abs(norm(key.key.map(Double.init)) - norm(key.keyBeforeRotation.map(Double.init)))
                <= 1e-4 * max(1, norm(key.key.map(Double.init))), sourceLocation: sourceLocation)
    }
    for (key, exponential) in zip(steps.keys, exponentials) {
        #expect(abs(key.weight - exponential / sum(exponentials)) < 1e-4, sourceLocation: sourceLocation)
    }
    #expect(abs(sum(steps.keys.map(\.weight)) - 1) < 1e-5, sourceLocation: sourceLocation)
    for component in 0..<dimension {
        let average = sum(steps.keys.map { $0.weight * Double($0.value[component]) })
        let added = sum(steps.keys.map { Double($0.weightedValue[component]) })
        #expect(abs(average - Double(steps.output[component])) < 1e-4, sourceLocation: sourceLocation)
        #expect(abs(added - Double(steps.output[component])) < 1e-4, sourceLocation: sourceLocation)
    }
}

func sum(_ numbers: some Sequence<Double>) -> Double { numbers.reduce(0, +) }
func norm(_ numbers: [Double]) -> Double { sum(numbers.map { $0 * $0 }).squareRoot() }
