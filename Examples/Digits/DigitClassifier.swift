import Attention
import SequenceModels

/// A small convolutional network: twice convolution, ReLU and the largest of each 2 by 2, then one linear layer.
///
/// The shape of LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998, for images of 8 by 8.
struct DigitClassifier: Layer {
    /// 32 kernels of 3 by 3, which look at the image itself.
    var first: Conv2d
    /// 64 kernels of 3 by 3, which look at what the first ones found.
    var second: Conv2d
    /// From what was found in each quarter of the image to the ten digits.
    var output: Linear

    init(random: inout RandomStream) {
        first = Conv2d(
            inputChannels: 1, outputChannels: 32, kernelSize: 3, window: ConvolutionWindow(padding: 1),
            layout: .channelsLast, random: &random)
        second = Conv2d(
            inputChannels: 32, outputChannels: 64, kernelSize: 3, window: ConvolutionWindow(padding: 1),
            layout: .channelsLast, random: &random)
        output = Linear(inputDimension: 2 * 2 * 64, outputDimension: 10, random: &random)
    }

    mutating func visitParameters(_ visit: (String, inout Tensor) throws -> Void) rethrows {
        try first.visitParameters { try visit("first.\($0)", &$1) }
        try second.visitParameters { try visit("second.\($0)", &$1) }
        try output.visitParameters { try visit("output.\($0)", &$1) }
    }

    /// Returns how well each digit fits each image, before the softmax.
    ///
    /// - Parameters:
    ///   - images: `[B, 8, 8, 1]`, from 0 to 1.
    ///   - dropout: Where random numbers come from in training; `nil` outside.
    /// - Returns: `[B, 10]`.
    func logits(of images: Tensor, dropout: inout RandomStream?) -> Tensor {
        let edges = maxPool2d(relu(first(images)), kernelSize: (2, 2), layout: .channelsLast)
        let strokes = maxPool2d(relu(second(edges)), kernelSize: (2, 2), layout: .channelsLast)
        var found = strokes.reshaped(to: [images.shape[0], output.weight.shape[1]])
        if var random = dropout {
            found = Attention.dropout(found, rate: 0.25, random: &random)
            dropout = random
        }
        return output(found)
    }

    /// Returns the digit that fits each image best.
    func predictions(for digits: [Digit]) -> [Int] {
        var dropout: RandomStream?
        return logits(of: digits.images, dropout: &dropout).unstacked().map { row in
            let logits = row.floats
            return logits.indices.max { logits[$0] < logits[$1] } ?? 0
        }
    }
}

/// What came of a training.
struct DigitTraining {
    /// The trained network.
    let classifier: DigitClassifier
    /// Digits that it was not trained on, with what it takes them for.
    let heldOut: [(digit: Digit, prediction: Int)]

    var rightCount: Int { heldOut.count { $0.digit.label == $0.prediction } }
    var accuracy: Double { Double(rightCount) / Double(max(1, heldOut.count)) }

    /// Trains a network on four fifths of the digits.
    ///
    /// - Parameters:
    ///   - digits: All of them, in any order.
    ///   - epochs: How often each digit of the training part is looked at.
    ///   - seed: Which fifth is held out, the first parameters, and the order of the rest follow from it.
    ///   - report: Gets the epoch, from 1, and the mean loss over it.
    init(
        on digits: [Digit], epochs: Int = 30, seed: UInt64 = 1,
        report: (_ epoch: Int, _ loss: Double) -> Void = { _, _ in }
    ) {
        var random = RandomStream(seed: seed)
        let shuffled = digits.shuffled(using: &random)
        let (unseen, seen) = (Array(shuffled.prefix(digits.count / 5)), Array(shuffled.dropFirst(digits.count / 5)))
        var classifier = DigitClassifier(random: &random)
        var optimizer = Optimizer(.adam())
        var dropout: RandomStream? = random.stream(for: 1)
        let batchSize = 32
        for epoch in 0..<epochs {
            let order = seen.shuffled(using: &random)
            var loss = 0.0
            for start in stride(from: 0, to: order.count, by: batchSize) {
                let batch = Array(order[start..<min(start + batchSize, order.count)])
                let tracked = classifier.tracked()
                let batchLoss = crossEntropy(
                    tracked.logits(of: batch.images, dropout: &dropout), targets: batch.map(\.label))
                let progress = (Double(epoch) + Double(start) / Double(order.count)) / Double(epochs)
                optimizer.step(
                    &classifier, gradients: batchLoss.gradients(of: tracked.parameters.map(\.value)),
                    learningRate: 3e-3 * LearningRateSchedule.cosine.factor(progress: progress, warmUp: 0.05))
                loss += batchLoss.doubles[0] * Double(batch.count)
            }
            report(epoch + 1, loss / Double(max(1, order.count)))
        }
        self.classifier = classifier
        heldOut = zip(unseen, classifier.predictions(for: unseen)).map { ($0, $1) }
    }
}
