import ArgumentParser
import Foundation
import SequenceModels

/// Trains a small convolutional network on 8 by 8 digits, and draws what it learned to look for.
@main
struct Digits: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "digits",
        abstract: "Train a small convolutional network on handwritten digits, and draw its kernels.",
        discussion: """
            Four fifths of the digits are learned from, one fifth is held out. Scripts/fetch-digits fetches the digits.

            Example:
              swift run -c release digits --svg kernels.svg
            """)

    @Option(
        help:
            "The digits: 64 pixels from 0 to 16 and a label in each line. Default: where Scripts/fetch-digits puts them."
    )
    var data: String = Digit.defaultPath

    @Option(help: "Where to write the picture of the kernels.")
    var svg: String?

    @Option(help: "How often each digit is looked at; at least 1.")
    var epochs = 30

    @Option(help: "Which fifth is held out, and all other chance.")
    var seed: UInt64 = 1

    func validate() throws {
        if epochs < 1 { throw ValidationError("--epochs is \(epochs); it has to be at least 1.") }
    }

    func run() throws {
        let digits = try Digit.read(from: data)
        let start = ContinuousClock.now
        print("\(digits.count) digits, of which \(digits.count / 5) are held out")
        let training = DigitTraining(on: digits, epochs: epochs, seed: seed) { epoch, loss in
            if epoch % 5 == 0 || epoch == epochs { print("epoch \(epoch)  loss \(decimals(loss, 4))") }
        }
        let seconds = (ContinuousClock.now - start) / .seconds(1)
        print(
            "held out: \(training.rightCount) of \(training.heldOut.count) right, \(decimals(100 * training.accuracy, 1)) %"
                + " (\(training.classifier.parameterCount) parameters, \(decimals(seconds, 1)) s)")
        for (digit, prediction) in training.heldOut where digit.label != prediction {
            print("\na \(digit.label), taken for a \(prediction)\n\(picture(of: digit))")
        }
        let drawing = KernelDrawing(training.classifier.first.weight)
        print("\nthe kernels of the first layer: ink on █ speaks for the kernel, on blank against it\n")
        print(drawing.text())
        if let svg {
            try Data(drawing.svg().utf8).write(to: URL(filePath: svg), options: .atomic)
            print("the same in colour: \(svg)")
        }
    }

    private func picture(of digit: Digit) -> String {
        let shades = Array(" ░▒▓█")
        return (0..<Digit.side).map { row in
            digit.pixels[row * Digit.side..<(row + 1) * Digit.side].map { pixel in
                String(repeating: shades[(pixel * 4 + Digit.maximum / 2) / Digit.maximum], count: 2)
            }.joined()
        }.joined(separator: "\n")
    }
}

/// A number with a fixed count of decimals.
private func decimals(_ number: Double, _ count: Int) -> String {
    String(format: "%.\(count)f", number)
}
