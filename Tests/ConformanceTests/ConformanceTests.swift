import Attention
import Testing

@Suite struct `Conformance with ONNX and PyTorch` {
    /// A folder that cannot be read has no cases here; the test of the whole folder says so.
    private static let cases = (try? ConformanceFolder(path: ConformanceFolder.path))?.casesToRun ?? []

    @Test(arguments: cases)
    func `every case agrees`(file: ConformanceCase) {
        for problem in file.problems() {
            Issue.record("\(file.name): \(problem)")
        }
    }

    @Test func `no case of the folder is left out`() throws {
        let folder = try ConformanceFolder(path: ConformanceFolder.path)
        let report = folder.report()
        print("Conformance of '\(ConformanceFolder.path)': \(report)")
        #expect(report.passedCount > 0, "The folder has no case that is run here.")
        #expect(report.passedCount + report.laterCount == folder.cases.count)
        #expect(report.passedCount == Self.cases.count)
    }

    // ONNX's sizes are any int64.
    @Test func `a window wider than any sequence shows all`() {
        let x = Tensor((0..<24).map { Float($0 % 7) - 3 }, shape: [1, 2, 3, 4])
        let open = attention(queries: x, keys: x, values: x)
        let windowed = attention(
            queries: x, keys: x, values: x, mask: .slidingWindow(left: .max, right: .max, offset: -2))
        #expect(windowed.floats == open.floats)
    }
}
