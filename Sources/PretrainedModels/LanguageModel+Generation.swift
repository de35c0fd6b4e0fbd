internal import Attention
public import ModelFiles
public import SequenceModels

extension LanguageModel {
    /// Returns the tokens of a text to continue, with the one in front that the model expects, if any.
    ///
    /// - Parameter text: Special tokens in it are plain text.
    /// - Returns: The tokens; none for an empty text.
    /// - Throws: `TokenizerError` when the text cannot be encoded.
    public func promptTokens(of text: String) throws(TokenizerError) -> [Int32] {
        let tokens = try tokenizer.encode(text)
        guard !tokens.isEmpty, tokenizer.addsBeginningOfSequence, let first = tokenizer.beginningOfSequenceID else {
            return tokens
        }
        return [first] + tokens
    }

    /// Returns the most likely continuation, token by token.
    ///
    /// - Parameters:
    ///   - tokens: What to continue, at least one.
    ///   - maximumCount: How many tokens to append at most.
    ///   - chunkLength: How many tokens of the prompt to feed at a time; the result does not depend on it beyond
    ///     rounding.
    /// - Returns: The new tokens; the last is the end token if the model said it.
    public func greedyContinuation(
        of tokens: [Int32], maximumCount: Int, chunkLength: Int = 512
    ) -> [Int32] {
        var sampler = TokenSampler(temperature: 0)
        var result: [Int32] = []
        continuation(of: tokens, maximumCount: maximumCount, sampler: &sampler, chunkLength: chunkLength) {
            result.append($0)
            return true
        }
        return result
    }

    /// Continues tokens, one after the other.
    ///
    /// Where the model takes a limited number of tokens, it goes on until that is reached.
    ///
    /// - Parameters:
    ///   - tokens: What to continue, at least one; of a model that reads a source, the source.
    ///   - maximumCount: How many tokens to append at most.
    ///   - sampler: Picks the tokens.
    ///   - chunkLength: How many tokens of the prompt to feed at a time.
    ///   - onToken: Gets each new token, the end token included, and returns whether to go on.
    public func continuation(
        of tokens: [Int32], maximumCount: Int, sampler: inout TokenSampler, chunkLength: Int = 512,
        onToken: (Int32) -> Bool
    ) {
        require(!tokens.isEmpty && chunkLength > 0, "There is nothing to continue, or pieces of \(chunkLength).")
        proceed(with: model, tokens.map(Int.init), maximumCount, &sampler, chunkLength, onToken)
    }

    /// Continues several texts side by side, which takes less time than one after the other.
    ///
    /// A text's continuation depends on its sampler alone, not on its neighbours. Prompts are read token by token, so it
    /// may differ from that of ``continuation(of:maximumCount:sampler:chunkLength:onToken:)`` by rounding.
    ///
    /// - Parameters:
    ///   - prompts: What to continue, at least one token each; of a model of running text.
    ///   - maximumCount: How many tokens to append to each at most.
    ///   - samplers: One per prompt.
    /// - Returns: The new tokens of each; the last is the end token if the model said it.
    public func continuations(of prompts: [[Int32]], maximumCount: Int, samplers: [TokenSampler]) -> [[Int32]] {
        require(
            samplers.count == prompts.count && prompts.allSatisfy { !$0.isEmpty },
            "\(samplers.count) samplers for \(prompts.count) prompts, or a prompt without tokens.")
        require(prompting == .text, "Only models of running text continue several texts side by side.")
        return proceed(with: model, prompts.map { $0.map(Int.init) }, maximumCount, samplers)
    }

    private func proceed<Model: SequenceModel>(
        with model: Model, _ prompts: [[Int]], _ maximumCount: Int, _ samplers: [TokenSampler]
    ) -> [[Int32]] {
        guard !prompts.isEmpty, maximumCount > 0 else { return prompts.map { _ in [] } }
        let end = tokenizer.endOfSequenceID.map(Int.init)
        var (texts, samplers) = (prompts, samplers)
        var isDone = [Bool](repeating: false, count: prompts.count)
        var state = model.initialState(batchCount: prompts.count, source: nil)
        var position = 0
        while position < model.contextLength ?? .max, isDone.contains(false) {
            // Who is done goes on reading its last token, and nobody looks.
            let tokens = texts.map { [$0[min(position, $0.count - 1)]] }
            let logits = model.nextTokenLogits(after: tokens, state: &state)
            position += 1
            let needed = texts.indices.filter { !isDone[$0] && texts[$0].count == position }
            if needed.isEmpty { continue }
            let scores = logits.floats
            let count = scores.count / texts.count
            for text in needed {
                let token = samplers[text].token(from: Array(scores[text * count..<(text + 1) * count]))
                texts[text].append(token)
                isDone[text] = token == end || texts[text].count - prompts[text].count == maximumCount
            }
        }
        return zip(texts, prompts).map { $0.dropFirst($1.count).map(Int32.init) }
    }

    /// Returns what a model writes a source's continuation after: the end token, or in running text the source's last.
    ///
    /// - Parameter source: Tokens, at least one.
    /// - Returns: A token.
    package func decoderStart(after source: [Int]) -> Int {
        prompting == .pairs ? tokenizer.endOfSequenceID.map(Int.init) ?? 0 : source[source.count - 1]
    }

    private func proceed<Model: SequenceModel>(
        with model: Model, _ tokens: [Int], _ maximumCount: Int, _ sampler: inout TokenSampler, _ chunkLength: Int,
        _ onToken: (Int32) -> Bool
    ) {
        let end = tokenizer.endOfSequenceID.map(Int.init)
        // Without an encoder, a source is read first, and the end token after it asks for its target.
        let prompt = prompting == .pairs ? tokens + [decoderStart(after: tokens)] : tokens
        var rest = model.readsSource ? [decoderStart(after: tokens)] : prompt[...]
        let source = model.readsSource ? EmbeddedBatch(model.embedSource([tokens])) : nil
        var room = min(maximumCount, (model.contextLength ?? .max) - (rest.count - 1))
        var state = model.initialState(batchCount: 1, source: source)
        while room > 0 {
            var logits: Tensor?
            while !rest.isEmpty {
                logits = model.nextTokenLogits(after: [Array(rest.prefix(chunkLength))], state: &state)
                rest = rest.dropFirst(chunkLength)
            }
            guard let scores = logits?.floats, !scores.isEmpty else { return }
            let token = sampler.token(from: scores)
            guard onToken(Int32(token)), token != end else { return }
            rest = [token]
            room -= 1
        }
    }
}
