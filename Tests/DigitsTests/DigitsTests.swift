import Attention
import Foundation
import SequenceModels
import TestSupport
import Testing

@testable import digits

@Suite struct `Digits` {
    /// Whether the digits are there, or have to be; and the build is optimised, without which it takes minutes.
    static let isTested =
        !TestEnvironment.isDebugBuild
        && (ProcessInfo.processInfo.environment["ATTENTION_REQUIRE_MODELS"] == "1"
            || FileManager.default.isReadableFile(atPath: Digit.defaultPath))

    @Test(.enabled(if: isTested, "Scripts/fetch-digits fetches the digits; run it in release."))
    func `98 % of those held out are recognised`() throws {
        let digits = try Digit.read(from: Digit.defaultPath)
        #expect(digits.count == 1797)
        // Half of what the command does, and enough.
        let training = DigitTraining(on: digits, epochs: 15)
        #expect(training.heldOut.count == 359)
        #expect(training.accuracy >= 0.98, "\(training.rightCount) of \(training.heldOut.count)")
    }

    @Test func `training lowers the loss, and is the same each time`() {
        var random = RandomStream(seed: 1)
        // Two classes: ink above, ink below.
        let digits = (0..<40).map { index in
            Digit(
                pixels: (0..<64).map { ($0 < 32) == (index % 2 == 0) ? Int.random(in: 8...16, using: &random) : 0 },
                label: index % 2)
        }
        var losses: [Double] = []
        let first = DigitTraining(on: digits, epochs: 8) { losses.append($1) }
        #expect(losses.count == 8)
        #expect((losses.last ?? .infinity) < losses[0] / 2)
        #expect(first.accuracy == 1)
        let second = DigitTraining(on: digits, epochs: 8)
        for (left, right) in zip(first.classifier.parameters, second.classifier.parameters) {
            #expect(left.value.floats == right.value.floats, "\(left.name)")
        }
    }

    @Test func `kernels are drawn where they are`() {
        let drawing = KernelDrawing(Tensor([2, -2, 0, 1, 0, 0, 0, 0] as [Float], shape: [2, 1, 2, 2]))
        #expect(drawing.text() == "██    ▒▒▒▒\n▒▒▓▓  ▒▒▒▒\n")
        let svg = drawing.svg()
        #expect(svg.hasPrefix("<svg") && svg.hasSuffix("</svg>\n"))
        #expect(svg.components(separatedBy: "<rect").count == 2 + 8)
        #expect(svg.contains("rgb(33,102,172)") && svg.contains("rgb(178,24,43)") && svg.contains("rgb(255,255,255)"))
    }

    @Test(
        arguments: [
            ("", Digit.FileError.empty), ("1,2,3\n", .badLine(number: 1)),
            (line + line.replacing("16", with: "17"), .badLine(number: 2)),
            (line.replacing("7\n", with: "x\n"), .badLine(number: 1)),
            (line.replacing("7\n", with: "10\n"), .badLine(number: 1)), ("\u{0}\u{1}\n", .badLine(number: 1)),
        ])
    func `a file of something else is refused`(text: String, error: Digit.FileError) throws {
        let path = FileManager.default.temporaryDirectory.appending(path: "digits-\(UUID().uuidString).csv")
        defer { try? FileManager.default.removeItem(at: path) }
        try Data(text.utf8).write(to: path)
        #expect(throws: error) { try Digit.read(from: path.path(percentEncoded: false)) }
    }

    @Test func `a file that is not there is named`() {
        #expect(throws: Digit.FileError.unreadable(path: "/nowhere/digits.csv")) {
            try Digit.read(from: "/nowhere/digits.csv")
        }
    }

    /// A digit as the file has it.
    private static let line = (0..<64).map { $0 % 2 == 0 ? "0" : "16" }.joined(separator: ",") + ",7\n"
}
