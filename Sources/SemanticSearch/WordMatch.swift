internal import Attention
internal import AttentionInspection
internal import ModelFiles
public import PretrainedModels
internal import SequenceModels

/// A word of a query, and the word of a text that is closest to it.
public struct WordMatch: Sendable, Equatable {
    /// The query's word.
    public let queryWord: String
    /// The text's word.
    public let textWord: String
    /// How close they are, from −1 to 1.
    public let similarity: Float
}

extension TextEmbedder {
    /// Returns, for each word of a query, which word of each text is closest to it.
    ///
    /// From the model's own numbers: tokens are compared by the cosine of their vectors behind the last layer, which are
    /// what a text's vector is made from. Two words are as close as each token of the query's word is to the closest token
    /// of the other, on the average: Zhang et al., "BERTScore", 2019 (arXiv:1904.09675), within words. A word's vector knows the
    /// words around it, so that the same word is not always as close.
    ///
    /// - Parameters:
    ///   - query: A text.
    ///   - texts: Any number.
    /// - Returns: For each text the words of the query in their order; words that are signs alone are left out, and what is
    ///   beyond what the model reads.
    /// - Throws: ``SearchIndexError/text(_:)`` when a text is too long to be encoded at all.
    public func wordMatches(query: String, texts: [String]) throws(SearchIndexError) -> [[WordMatch]] {
        guard !texts.isEmpty else { return [] }
        var words: [WordsOfText] = []
        for text in [query] + texts { words.append(try WordsOfText(text, self)) }
        // Beyond the tokens of a text, the model reads those around it.
        let states = encoder(words.map { $0.tokens.map(Int.init) }).floats
        let width = encoder.transformer.configuration.modelDimension
        var vectors: [Tensor] = []
        var row = 0
        for word in words {
            vectors.append(
                Tensor(
                    Self.unitRows(states[row * width..<(row + word.tokens.count) * width], width),
                    shape: [word.tokens.count, width]))
            row += word.tokens.count
        }
        let ofQuery = words[0]
        return zip(words, vectors).dropFirst().map { word, vector in
            let columns = word.tokens.count
            guard columns > 0, !ofQuery.tokens.isEmpty else { return [] }
            let cosines = matmul(vectors[0], WeightMatrix(vector)).floats
            return ofQuery.segments.compactMap { queryWord in
                var best: WordMatch?
                for textWord in word.segments {
                    let closest = queryWord.tokens.map { token in
                        textWord.tokens.map { cosines[token * columns + $0] }.max() ?? -1
                    }
                    let similarity = closest.reduce(0, +) / Float(max(1, closest.count))
                    if best.map({ similarity > $0.similarity }) ?? true {
                        best = WordMatch(
                            queryWord: queryWord.text, textWord: textWord.text, similarity: similarity)
                    }
                }
                return best
            }
        }
    }

    private static func unitRows(_ rows: ArraySlice<Float>, _ width: Int) -> [Float] {
        var rows = Array(rows)
        for start in stride(from: 0, to: rows.count, by: width) {
            let length = rows[start..<start + width].reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
            for index in start..<start + width { rows[index] = Float(Double(rows[index]) / max(length, 1e-12)) }
        }
        return rows
    }
}

/// A text as the model reads it, and which tokens its words have.
private struct WordsOfText {
    let tokens: [Int32]
    let segments: [Segment]

    init(_ text: String, _ embedder: TextEmbedder) throws(SearchIndexError) {
        let (prompt, bytes) = (Array(embedder.prompt.utf8), Array(text.utf8))
        let template = embedder.tokenizer.template
        let room = embedder.maximumTokenCount - template.prefix.count - template.suffix.count
        let spans: ArraySlice<TokenSpan>
        do {
            spans = try embedder.tokenizer.spans(utf8: prompt + bytes, recognizingSpecialTokens: false).prefix(room)
        } catch {
            throw .text(error)
        }
        tokens = template.prefix + spans.map(\.id) + template.suffix
        // A token may reach from what stands before each text into the text: then it is the text's.
        let own = spans.drop { $0.range.upperBound <= prompt.count }
        let ends = own.map { $0.range.upperBound - prompt.count }
        let first = template.prefix.count + spans.count - own.count
        let words = Segment.words(of: Array(bytes.prefix(ends.last ?? 0)), tokenEnds: ends)
            .map { Segment(text: $0.text, tokens: $0.tokens.lowerBound + first..<$0.tokens.upperBound + first) }
        let readable = words.filter { word in
            word.text.unicodeScalars.contains { $0.properties.isAlphabetic || $0.properties.numericType != nil }
        }
        segments = readable.isEmpty ? words : readable
    }
}
