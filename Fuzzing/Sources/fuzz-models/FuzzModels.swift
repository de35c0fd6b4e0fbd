import FileFuzzing
import FuzzDriver
import ModelFuzzing

/// Where the program begins: SwiftPM gives `main` this name, so that libFuzzer's own is not used.
@_cdecl("fuzz_models_main")
public func fuzzModels(_ count: CInt, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> CInt {
    fuzz(FuzzTarget.models, count, arguments)
}
