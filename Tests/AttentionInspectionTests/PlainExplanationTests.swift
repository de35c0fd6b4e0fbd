import Attention
import ModelFiles
import SequenceModels
import TestSupport
import Testing

@testable import AttentionInspection
@testable import PretrainedModels

/// A small model of text with random parameters, whose tokens are characters.
private func languageModel(
    _ architecture: TextModelConfiguration.Architecture, attention: TextModelConfiguration.EncoderAttention? = nil,
    prompting: LanguageModel.Prompting = .text
) throws -> LanguageModel {
    let tokenizer = try CharacterTokenizer(texts: ["abcdefgh "])
    let configuration = TextModelConfiguration(
        architecture, vocabularySize: tokenizer.vocabularySize, width: 6, layerCount: 2, contextLength: 12,
        attention: attention)
    var random = RandomStream(seed: 4)
    func randomised(_ model: some SequenceModel) -> any SequenceModel {
        model.replacingParameters(with: model.parameters.map { random.uniform($0.value.shape, bound: 0.8) })
    }
    return LanguageModel(
        name: "small", path: "small", model: randomised(configuration.model(random: &random)), tokenizer: tokenizer,
        prompting: prompting)
}

private let sentence = "bad cab fed"

/// The tokens of each word of the sentence: the space belongs to the word after it.
private let words = [0..<3, 3..<7, 7..<11]

/// The Kullback–Leibler divergence of predictions in bits, by its definition.
private func divergence(_ logits: [Double], _ others: [Double]) -> Double {
    func softmax(_ x: [Double]) -> [Double] {
        let powers = x.map { Double.exp($0) }
        return powers.map { $0 / powers.reduce(0, +) }
    }
    return zip(softmax(logits), softmax(others)).reduce(0) { $0 + $1.0 * (Double.log($1.0) - Double.log($1.1)) }
        / Double.log(2)
}

/// The mean of the rows of the embedding.
private func meanEmbedding(_ model: some SequenceModel) throws -> [Float] {
    let weight = try #require(model.parameters.first { $0.name.hasPrefix("embedding") }).value
    let (count, width) = (weight.shape[0], weight.shape[1])
    let elements = weight.doubles
    return (0..<width).map { column in
        Float((0..<count).reduce(0) { $0 + elements[$1 * width + column] } / Double(count))
    }
}

/// The prediction after the last of some vectors, the tokens of one word replaced by the mean.
private func lastLogits<Model: SequenceModel>(
    _ model: Model, _ tokens: [Int], without word: Range<Int>?, start: Int?
) throws -> [Double] {
    let vectors = model.embed([tokens])
    let width = vectors.shape[2]
    var elements = vectors.floats
    if let word {
        let mean = try meanEmbedding(model)
        for token in word { elements.replaceSubrange(token * width..<(token + 1) * width, with: mean) }
    }
    var none: RandomStream?
    let changed = EmbeddedBatch(Tensor(elements, shape: vectors.shape))
    let hidden =
        if let start {
            model.hiddenStates(of: EmbeddedBatch(model.embed([[start]])), source: changed, dropout: &none)
        } else {
            model.hiddenStates(of: changed, source: nil, dropout: &none)
        }
    let last = hidden.shape[1] - 1
    return model.logits(of: hidden.slice(axis: 1, range: last..<last + 1)).doubles
}

@Suite struct `An explanation of a model without heads` {
    private static let plain = TextModelConfiguration.Architecture.allCases.filter {
        $0 != .seq2seq && $0 != .transformer
    }

    @Test(arguments: plain, [0, 1, 2])
    func `has the effect that a word has on the prediction`(
        architecture: TextModelConfiguration.Architecture, target: Int
    ) throws {
        let model = try languageModel(architecture)
        let explanation = try model.explanation(of: sentence, target: .position(target))
        #expect(explanation.words.map(\.text) == ["bad", "cab", "fed"])
        let tokens = try model.tokenizer.encode(sentence).prefix(words[target].upperBound).map(Int.init)
        func check(_ inner: some SequenceModel) throws {
            let whole = try lastLogits(inner, tokens, without: nil, start: nil)
            for (index, word) in explanation.words.enumerated() {
                #expect(word.isVisible == (index <= target))
                #expect(word.contribution == nil && word.attentionWithoutSink == nil && !word.isSink)
                let effect = try #require(word.effect)
                guard index <= target else {
                    #expect(effect == 0)
                    continue
                }
                let expected = divergence(whole, try lastLogits(inner, tokens, without: words[index], start: nil))
                #expect(abs(effect - expected) < 1e-5 + 1e-4 * expected, "\(word.text)")
                if index == target { #expect(effect > 1e-6) }
            }
            // The predictions are the softmax of the same logits.
            let best = try #require(whole.indices.max { whole[$0] < whole[$1] })
            #expect(explanation.nextWords.first?.text == (try model.tokenizer.decode([Int32(best)])))
        }
        try check(model.model)
        if architecture != .lstmn {
            #expect(explanation.words.allSatisfy { $0.attention == nil })
            #expect(explanation.scope == "a model without attention")
        }
        #expect(explanation.alignment == nil && explanation.steps == nil)
    }

    @Test func `has the weights of an LSTMN`() throws {
        let model = try languageModel(.lstmn)
        let inner = try #require(model.model as? any AttendingModel)
        let tokens = try model.tokenizer.encode(sentence).map(Int.init)
        let layers = inner.attentionWeights(of: EmbeddedBatch(inner.embed([tokens])))
        #expect(layers.map(\.shape) == [[1, 11, 11], [1, 11, 11]])
        for target in 0..<3 {
            let explanation = try model.explanation(of: sentence, target: .position(target))
            let rows = words[target].filter { $0 > 0 }
            for (index, word) in explanation.words.enumerated() {
                var expected = 0.0
                for layer in layers {
                    for row in rows { for token in words[index] { expected += layer[0, row, token] } }
                }
                #expect(abs(try #require(word.attention) - expected / Double(2 * rows.count)) < 1e-5)
            }
            #expect(abs(explanation.words.reduce(0) { $0 + ($1.attention ?? 0) } - 1) < 1e-5)
        }
        // The first token has nothing to attend to.
        let first = try model.explanation(
            of: sentence, target: .position(0), options: ExplanationOptions(showsTokens: true))
        #expect(first.words.allSatisfy { $0.attention == nil } && first.words[0].effect != nil)
        #expect(!first.text().contains("attends to"))
    }

    @Test(arguments: [.bahdanau, .luong, .local, .none] as [TextModelConfiguration.EncoderAttention])
    func `has the alignment of an encoder–decoder`(attention: TextModelConfiguration.EncoderAttention) throws {
        for prompting in LanguageModel.Prompting.allCases {
            let model = try languageModel(.seq2seq, attention: attention, prompting: prompting)
            let explanation = try model.explanation(of: sentence)
            let inner = try #require(model.model as? any AligningModel)
            let ids = try model.tokenizer.encode(sentence)
            let tokens = ids.map(Int.init)
            let start = prompting == .pairs ? Int(try #require(model.tokenizer.endOfSequenceID)) : tokens[10]
            #expect(explanation.words.allSatisfy { $0.isVisible })
            #expect(explanation.scope == "the whole source")

            func check(_ inner: some SequenceModel) throws {
                let whole = try lastLogits(inner, tokens, without: nil, start: start)
                for (index, word) in explanation.words.enumerated() {
                    let expected = divergence(whole, try lastLogits(inner, tokens, without: words[index], start: start))
                    #expect(abs(try #require(word.effect) - expected) < 1e-5 + 1e-4 * expected, "\(word.text)")
                }
            }
            try check(inner)

            guard attention != .none else {
                #expect(explanation.alignment == nil && explanation.words.allSatisfy { $0.attention == nil })
                continue
            }
            let alignment = try #require(explanation.alignment)
            let written = model.greedyContinuation(of: ids, maximumCount: 24)
            #expect(alignment.written == (try written.map { try model.tokenizer.decode([$0]) }))
            #expect(alignment.read.joined() == sentence)
            let inputs = [start] + written.dropLast().map(Int.init)
            let weights = try #require(
                inner.alignment(
                    of: TrainingBatch(
                        source: TokenBatch([tokens]), inputs: TokenBatch([inputs]), targets: [written.map(Int.init)])))
            for (row, found) in alignment.weights.enumerated() {
                #expect(found == (0..<11).map { weights[0, row, $0] })
                let sum = found.reduce(0, +)
                if attention == .local { #expect(sum < 1 + 1e-5) } else { #expect(abs(sum - 1) < 1e-5) }
            }
            for (index, word) in explanation.words.enumerated() {
                let expected = words[index].reduce(0) { $0 + alignment.weights[0][$1] }
                #expect(abs(try #require(word.attention) - expected) < 1e-9)
            }
        }
    }

    @Test func `reads the whole of a source, white space at its end included`() throws {
        let model = try languageModel(.seq2seq, attention: .luong, prompting: .pairs)
        let explanation = try model.explanation(of: "bad cab ")
        #expect(explanation.target.text == "cab")
        #expect(explanation.words.count == 3 && explanation.words.allSatisfy { $0.isVisible })
        #expect(abs(explanation.words.reduce(0) { $0 + ($1.attention ?? 0) } - 1) < 1e-5)
        for target in [Target.word("cab"), .position(0)] {
            #expect(throws: InspectionError.self) { try model.explanation(of: "bad cab", target: target) }
        }
    }

    @Test func `refuses what the model has not`() throws {
        for architecture in Self.plain + [.seq2seq] {
            let model = try languageModel(architecture)
            for options in [
                ExplanationOptions(layer: 0), ExplanationOptions(layer: 0, head: 0), ExplanationOptions(head: 0),
            ] {
                #expect(
                    throws: InspectionError.incompleteHead(
                        reason: "The model is no Transformer: it has no heads to name.")
                ) {
                    try model.explanation(of: sentence, options: options)
                }
            }
            #expect(throws: InspectionError.emptySentence) { try model.explanation(of: " ") }
            guard architecture != .seq2seq else { continue }
            #expect(throws: InspectionError.self) { try model.explanation(of: "xyz") }
        }
        // Positions end; what is recurrent reads on.
        let long = String(repeating: "ab ", count: 5)
        #expect(throws: InspectionError.sentenceTooLong(tokenCount: 15, contextLength: 12)) {
            try languageModel(.transformer).explanation(of: long)
        }
        #expect(try languageModel(.gru).explanation(of: long).words.count == 6)
    }

    @Test func `leaves out the effect where that takes long, and says so`() throws {
        let model = try languageModel(.gru)
        let long = String(repeating: "ab ", count: 40)
        let explanation = try model.explanation(of: long)
        #expect(explanation.words.allSatisfy { $0.effect == nil })
        #expect(explanation.notes.count == 1 && explanation.notes[0].contains("--effect always"))
        #expect(explanation.text().contains("Note: effect was left out"))
        let never = try model.explanation(of: sentence, options: ExplanationOptions(effect: .never))
        #expect(never.words.allSatisfy { $0.effect == nil } && never.notes == [])
    }

    @Test func `writes null for what there is not`() throws {
        let json = try JSONValue(parsing: Array(try languageModel(.gru).explanation(of: sentence).json().utf8))
        for word in json["words"]?.arrayValue ?? [] {
            #expect(
                word["attention"] == .null && word["attentionWithoutSink"] == .null && word["contribution"] == .null)
            #expect(word["effect"]?.doubleValue != nil)
        }
        #expect(json["words"]?.arrayValue?.count == 3 && json["alignment"] == nil)
        let aligned = try languageModel(.seq2seq, attention: .luong).explanation(of: sentence).json()
        #expect(try JSONValue(parsing: Array(aligned.utf8))["alignment"]?["read"]?.arrayValue?.count == 11)
    }

    @Test func `calls back before the effect with all else`() throws {
        let model = try languageModel(.lstmn)
        var partial: Explanation?
        let whole = try model.explanation(of: sentence) { partial = $0 }
        #expect(partial?.words.map(\.attention) == whole.words.map(\.attention))
        #expect(partial?.words.allSatisfy { $0.effect == nil } == true)
        #expect(partial?.heading() == whole.heading())
    }
}
