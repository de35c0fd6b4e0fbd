public import Attention

/// A classifier of texts by the n-grams they contain.
///
/// Kim, "Convolutional Neural Networks for Sentence Classification", 2014 (arXiv:1408.5882): word vectors, kernels of
/// several widths, ReLU, the largest over time, dropout, and one linear layer. Texts are thought with zeros on either
/// side, so that every text has a place for every kernel, be it shorter than that.
public struct TextCNN: Layer {
    /// The vectors of tokens, `[V, M]`.
    public var embedding: Embedding
    /// Kernels of each width, from `[B, T, M]` on.
    public var convolutions: [Conv1d]
    /// From the kernels' largest values to the logits.
    public var output: Linear
    /// The share of the largest values that is dropped in training.
    public let dropoutRate: Double

    /// Creates a classifier, of Kim's sizes unless told otherwise.
    ///
    /// - Parameters:
    ///   - vocabularySize: `V`.
    ///   - classCount: How many classes there are.
    ///   - dimension: `M`, the length of a word vector.
    ///   - widths: How many tokens the kernels of each size see.
    ///   - kernelCount: How many kernels there are of each size.
    ///   - dropoutRate: From 0 to less than 1.
    ///   - random: Where the parameters come from.
    public init(
        vocabularySize: Int, classCount: Int, dimension: Int = 300, widths: [Int] = [3, 4, 5], kernelCount: Int = 100,
        dropoutRate: Double = 0.5, random: inout RandomStream
    ) {
        embedding = Embedding(count: vocabularySize, dimension: dimension, random: &random)
        convolutions = []
        for width in widths {
            convolutions.append(
                Conv1d(
                    inputChannels: dimension, outputChannels: kernelCount, kernelSize: width,
                    window: ConvolutionWindow(padding: width - 1), layout: .channelsLast, random: &random))
        }
        output = Linear(inputDimension: kernelCount * widths.count, outputDimension: classCount, random: &random)
        self.dropoutRate = dropoutRate
    }

    /// Calls `visit` with the parameters of `embedding`, `convs` and `fc`.
    ///
    /// - Parameter visit: Gets a parameter's name and the parameter.
    /// - Throws: What `visit` throws.
    public mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try SequenceModels.visitParameters(of: &embedding, "embedding", visit)
        try SequenceModels.visitParameters(of: &convolutions, "convs", visit)
        try SequenceModels.visitParameters(of: &output, "fc", visit)
    }

    /// Returns how well each class fits each text, before the softmax; padding changes nothing.
    ///
    /// - Parameters:
    ///   - texts: Of any lengths.
    ///   - dropout: Where random numbers come from in training; `nil` outside.
    /// - Returns: `[B, classes]`.
    public func logits(of texts: TokenBatch, dropout: inout RandomStream?) -> Tensor {
        let (batch, length) = (texts.count, texts.length)
        // Zeros where a text has ended, as before its start.
        let isText = texts.lengths.flatMap { count in (0..<length).map { $0 < count ? Float(1) : 0 } }
        let words = embedding(texts.tokens)
        let vectors = words * Tensor(isText, shape: [batch, length, 1]).converted(to: words.elementType)
        let largest = convolutions.map { convolution in
            maxOverTime(relu(convolution(vectors)), lengths: texts.lengths.map { $0 + convolution.kernelSize - 1 })
        }
        return output(dropped(.concatenated(largest, axis: 1), rate: dropoutRate, &dropout))
    }

    /// Scales the weights of each class down to a largest norm, as Kim does after each step, with 3.
    ///
    /// Hinton et al., 2012 (arXiv:1207.0580).
    ///
    /// - Parameter maximumNorm: Above 0.
    public mutating func limitNorms(to maximumNorm: Double = 3) {
        require(maximumNorm > 0, "The largest norm is \(maximumNorm); it must be above 0.")
        let factors = output.weight.unstacked().map { row in
            let norm = row.doubles.reduce(0) { $0 + $1 * $1 }.squareRoot()
            return norm > maximumNorm ? Float(maximumNorm / norm) : 1
        }
        output.weight =
            output.weight * Tensor(factors, shape: [factors.count, 1]).converted(to: output.weight.elementType)
    }
}
