import Attention
import TestSupport
import Testing

@Suite struct `Pooling` {
    @Test func `takes the largest and the mean under the window`() {
        // 1  2  3 |  4        the window of 2 by 3 fits once per row of windows
        // 5  6  7 |  8
        // 9 -1 -2 | -3
        let x = Tensor([1, 2, 3, 4, 5, 6, 7, 8, 9, -1, -2, -3] as [Float], shape: [1, 1, 3, 4])
        #expect(maxPool2d(x, kernelSize: (2, 3)).floats == [7])
        #expect(averagePool2d(x, kernelSize: (2, 3)).floats == [4])
        let overlapping = ConvolutionWindow()
        #expect(
            maxPool2d(x, kernelSize: (2, 3), vertical: overlapping, horizontal: overlapping).floats == [7, 8, 9, 8])
    }

    @Test func `padding is never the largest, and counts in the mean if told so`() {
        let x = Tensor([-1, -2, -3, -4] as [Float], shape: [1, 1, 4])
        let window = ConvolutionWindow(stride: 2, padding: 1)
        #expect(maxPool1d(x, kernelSize: 2, window: window).floats == [-1, -2, -4])
        #expect(averagePool1d(x, kernelSize: 2, window: window).floats == [-0.5, -2.5, -2])
        #expect(averagePool1d(x, kernelSize: 2, window: window, countsPadding: false).floats == [-1, -2.5, -4])
    }

    @Test func `layouts differ in nothing but the order`() {
        var generator = SeededGenerator(seed: 1)
        let x = generator.tensor([2, 3, 7, 11])
        let rows = x.transposed(1, 2).transposed(2, 3)
        for pool in [maximum, average] {
            let first = pool(x, .channelsFirst)
            let last = pool(rows, .channelsLast)
            #expect(last.transposed(2, 3).transposed(1, 2).doubles == first.doubles)
        }
    }

    @Test func `gradients match central differences`() {
        var generator = SeededGenerator(seed: 2)
        let x = generator.tensor([2, 3, 7, 5])
        #expect(gradientProblems(of: [x]) { maximum($0[0], .channelsFirst) } == [])
        #expect(gradientProblems(of: [x]) { average($0[0], .channelsLast) } == [])
        let window = ConvolutionWindow(stride: 2, dilation: 2, padding: 2)
        let sequence = generator.tensor([2, 3, 11])
        #expect(gradientProblems(of: [sequence]) { maxPool1d($0[0], kernelSize: 3, window: window) } == [])
        #expect(
            gradientProblems(of: [sequence]) {
                averagePool1d($0[0], kernelSize: 3, window: window, countsPadding: false)
            } == [])
        #expect(gradientProblems(of: [sequence]) { maxOverTime($0[0], lengths: [3, 1]) } == [])
    }

    @Test func `NaN is larger than any number`() {
        let x = Tensor([1, .nan, 3] as [Float], shape: [1, 1, 3])
        #expect(maxPool1d(x, kernelSize: 3).floats[0].isNaN)
    }

    @Test func `over time, what lies beyond a sequence's length changes nothing`() {
        let x = Tensor([-1, 5, -3, 4, .nan, .infinity, 7, 8, 9, 10, 11, 12] as [Float], shape: [3, 2, 2])
        #expect(maxOverTime(x, lengths: [2, 0, 1]).floats == [-1, 5, 0, 0, 9, 10])
        let gradient = maxOverTime(x.tracked(), lengths: [2, 0, 1]).sum()
        #expect(gradient.doubles == [23])
        #expect(maxOverTime(Tensor(zeros: [2, 0, 3])).floats == [0, 0, 0, 0, 0, 0])
    }

    @Test func `results and gradients have the same bits with any number of threads`() {
        var generator = SeededGenerator(seed: 3)
        let x = generator.tensor([5, 7, 11, 13]).converted(to: .float32).tracked()
        expectSameBits {
            [maximum, average].flatMap { pool in
                let output = pool(x, .channelsLast)
                return [output] + (output * output).sum().gradients(of: [x])
            }
        }
    }
}

private let window = ConvolutionWindow(stride: 2, padding: 1)

private func maximum(_ x: Tensor, _ layout: ConvolutionLayout) -> Tensor {
    maxPool2d(x, kernelSize: (3, 2), vertical: window, layout: layout)
}

private func average(_ x: Tensor, _ layout: ConvolutionLayout) -> Tensor {
    averagePool2d(x, kernelSize: (3, 2), vertical: window, layout: layout)
}
