"""The front-end kit: what pages need to chat through the gateway, served by it and usable from source.

    static/      gateway-kit.js (one ES module), its types, the React hook
    files        what is there: version, path, integrity
    endpoint     GET /kit/VERSION/FILE
    command      `gateway kit`: what to paste into a page, or a copy for bundlers

The files under one version never change once released: browsers keep them for a year, and pages pin their hash.
"""
